"""Write the rows as files of JSON lines into the watched folder, again and again, a few of them spoiled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo.plan import DataSet

_BAD_IN = 250
_BAD = -1


@dataclass(slots=True)
class Sent:
    """What was written for one type: for each line the index of its row, or -1 for a spoiled record.

    A record is known by its place: `source`, the folder below that of the records, and its number in all the
    files there, which `numbered` finds from what results and dead letters state.
    """

    data: DataSet
    source: str
    rows: list[int] = field(default_factory=list)
    spoiled: dict[int, bytes] = field(default_factory=dict)


def encode_row(data: DataSet, row: int) -> bytes:
    """A row's fields as a JSON object that still lacks its brace. The label is for the judge alone."""
    values = dict(zip(data.fields, data.rows[row], strict=True))
    return json.dumps({**values, "label": data.labels[row]})[:-1].encode()


def numbered(source: str, line: int) -> tuple[str, int]:
    """The place of the record in this line of a file, which is named by its first record's number.

    >>> numbered("wine/000120.jsonl", 3)
    ('wine', 123)
    """
    folder, _, name = source.partition("/")
    start = name.split(".", 1)[0]
    return (folder, int(start) + line) if start.isdecimal() else (source, line)


def appear(file: Path, content: bytes) -> None:
    """A file that is whole as soon as its name is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}")
    hidden.write_bytes(content)
    hidden.rename(file)


class Feed:
    """A file a type for each batch that is written, there as a whole as soon as its name is."""

    def __init__(self, folder: Path, data: Sequence[DataSet], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.sent: dict[str, Sent] = {}
        self._folder = folder
        self._rows: dict[str, list[bytes]] = {}
        self._ahead: dict[str, list[int]] = {}
        self.count = 0
        for one in data:
            (folder / one.data_type).mkdir(parents=True, exist_ok=True)
            self.sent[one.data_type] = Sent(one, one.data_type)
            self._rows[one.data_type] = [encode_row(one, row) for row in range(len(one.rows))]
            self._ahead[one.data_type] = []

    def write(self, count: int) -> None:
        """Write `count` records, the types in turn, a file for each type."""
        types = list(self.sent)
        first = {name: len(sent.rows) for name, sent in self.sent.items()}
        lines: dict[str, list[bytes]] = {name: [] for name in types}
        for _ in range(count):
            name = types[self.count % len(types)]
            lines[name].append(self._line(name))
            self.count += 1
        for name, batch in lines.items():
            if batch:
                appear(self._folder / name / f"{first[name]:09d}.jsonl", b"\n".join(batch) + b"\n")

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
