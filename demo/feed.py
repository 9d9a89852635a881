"""Write the rows as JSON lines into the watched folder, again and again, a few of them spoiled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from demo.plan import DataSet

_BAD_IN = 250
_BAD = -1


@dataclass(slots=True)
class Sent:
    """What was written for one type: for each line the index of its row, or -1 for a spoiled record.

    A record is known by its place, as results and dead letters state it: `source`, the file below the
    folder of records, and the number of its line.
    """

    data: DataSet
    source: str
    rows: list[int] = field(default_factory=list)
    spoiled: dict[int, bytes] = field(default_factory=dict)


def encode_row(data: DataSet, row: int) -> bytes:
    """A row's fields as a JSON object that still lacks its brace. The label is for the judge alone."""
    values = dict(zip(data.fields, data.rows[row], strict=True))
    return json.dumps({**values, "label": data.labels[row]})[:-1].encode()


class Feed:
    """Appends to one file a type; `step` writes what is due."""

    def __init__(self, folder: Path, data: Sequence[DataSet], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.sent: dict[str, Sent] = {}
        self._files: dict[str, BinaryIO] = {}
        self._rows: dict[str, list[bytes]] = {}
        self._ahead: dict[str, list[int]] = {}
        self.count = 0
        for one in data:
            source = f"{one.data_type}/{one.data_type}.jsonl"
            (folder / source).parent.mkdir(parents=True, exist_ok=True)
            self._files[one.data_type] = (folder / source).open("ab", buffering=0)
            self.sent[one.data_type] = Sent(one, source)
            self._rows[one.data_type] = [encode_row(one, row) for row in range(len(one.rows))]
            self._ahead[one.data_type] = []

    def write(self, count: int) -> None:
        """Append `count` records, the types in turn, each batch in one write a file."""
        types = list(self.sent)
        lines: dict[str, list[bytes]] = {name: [] for name in types}
        for _ in range(count):
            name = types[self.count % len(types)]
            lines[name].append(self._line(name))
            self.count += 1
        for name, batch in lines.items():
            if batch:
                self._files[name].write(b"\n".join(batch) + b"\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _line(self, name: str) -> bytes:
        sent, ahead = self.sent[name], self._ahead[name]
        if not ahead:
            ahead.extend(self._rng.permutation(len(sent.data.rows)).tolist())
        row, number = ahead.pop(), len(sent.rows)
        line = b'{"id": "%b-%06d", %b}' % (name.encode(), number, self._rows[name][row][1:])
        if self._rng.integers(_BAD_IN) == 0:
            line = self._spoiled(line, sent.data.fields[0])
            sent.spoiled[number] = line
            row = _BAD
        sent.rows.append(row)
        return line

    def _spoiled(self, line: bytes, first: str) -> bytes:
        way = int(self._rng.integers(4))
        if way == 0:
            return line[: len(line) // 2]
        record = json.loads(line)
        if way == 1:
            del record[first]
        else:
            record[first] = float("nan") if way == 2 else "n/a"
        return json.dumps(record).encode()
