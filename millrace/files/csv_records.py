"""CSV with a header line: each line as the JSON object that a producer of these records would send.

CSV has no types, so the model's say what a cell is: of a field that it reads as a number or a flag, a cell
that looks like one becomes one, and of a list a JSON array. An empty cell is a missing field, as is NaN of a
number. All else is text. A quote that nothing ends would make one cell of all that follows, so it is told.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import orjson

from millrace.files.base import FileBatch
from schemas.codecs.base import Code
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import SourceError
from schemas.tensors import BadRecord, DType

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_FLAGS = {"true": b"true", "false": b"false"}

Cell = Callable[[str], bytes | None]


class CsvRecords:
    """Reads a CSV file in UTF-8.

    `types`: record field -> how the model reads it, None for a list.

    Raises `SourceError` for a file that cannot be read, has no header, or none of the fields in it.
    """

    def __init__(
        self, path: Path, types: Mapping[str, DType | None], delimiter: str = ",", max_bytes: int = 1 << 20
    ) -> None:
        self.codec = JsonCodec(max_bytes)
        self._path, self._types = path, types
        self._delimiter, self._max_bytes = delimiter, max_bytes
        self._columns(self.names())

    def names(self) -> list[str]:
        """The fields that the header names."""
        return self._header(self._lines())

    def _header(self, lines: Iterator[tuple[int, list[str] | str]]) -> list[str]:
        _, header = next(lines, (0, []))
        if isinstance(header, str):
            raise SourceError(f"the header of {self._path} is no CSV: {header}")
        return header

    def batches(self, size: int) -> Iterator[FileBatch]:
        lines = self._lines()
        cells = self._columns(self._header(lines))
        batch = FileBatch([], {})
        payloads: list[bytes] = []
        for number, line in lines:
            if isinstance(line, str) or len(line) != len(cells):
                what = line if isinstance(line, str) else f"{len(line)} cells, the header has {len(cells)}"
                reason = f"line {number} has {what}"
                batch.unreadable[len(payloads)] = BadRecord(len(payloads), Code.UNPARSABLE.value, reason)
                payloads.append(b"")
            else:
                payloads.append(_object(cells, line))
            if len(payloads) == size:
                yield FileBatch(payloads, batch.unreadable)
                payloads, batch = [], FileBatch([], {})
        if payloads:
            yield FileBatch(payloads, batch.unreadable)

    def _lines(self) -> Iterator[tuple[int, list[str] | str]]:
        """(number of its last line, cells or what stands in their place) of each row that is not blank.

        The header is the first.
        """
        csv.field_size_limit(self._max_bytes)
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(self._bounded(file), delimiter=self._delimiter, strict=True)
                while True:
                    first = reader.line_num + 1
                    try:
                        row = next(reader, None)
                    except csv.Error as e:
                        if "expected after" not in str(e):
                            raise
                        yield reader.line_num, "more in a cell after the quote that ends it"
                        continue
                    if row is None:
                        return
                    if row:
                        yield reader.line_num, row
        except UnicodeDecodeError as e:
            raise SourceError(f"{self._path} is not UTF-8: {e}; convert it, with iconv for example") from None
        except csv.Error as e:
            if str(e) == "unexpected end of data":
                said = "has a quote that nothing ends"
            elif "field larger than" in str(e):  # lines are shorter, so it goes over several
                said = f"has a cell of more than {self._max_bytes} characters: does its quote end?"
            else:
                raise SourceError(f"line {reader.line_num} of {self._path} is no CSV: {e}") from None
            raise SourceError(f"the row of {self._path} that begins in line {first} {said}") from None
        except OSError as e:
            raise SourceError(f"cannot read {self._path}: {e}") from e

    def _bounded(self, file: TextIO) -> Iterator[str]:
        """Lines; half of one would be taken for a record."""
        while line := file.readline(self._max_bytes + 1):
            if len(line) > self._max_bytes:
                raise csv.Error(f"the line after it has more than {self._max_bytes} characters")
            yield line

    def _columns(self, header: Sequence[str]) -> list[tuple[bytes, Cell]]:
        """(the beginning of its member, how its cells are written) of each column."""
        if not header:
            raise SourceError(f"{self._path} is empty: its first line names the fields")
        if twice := next((name for name, count in Counter(header).items() if count > 1), None):
            raise SourceError(f"the header of {self._path} names {twice!r} twice")
        if self._types and not set(self._types) & set(header):
            raise SourceError(
                f"{self._path} has none of the fields that the model reads ({_some(self._types)}); its "
                f"header is {_some(header)}: is it the first line, and is the delimiter {self._delimiter!r}?"
            )
        return [(orjson.dumps(name) + b":", _cell(self._types.get(name, DType.TEXT))) for name in header]


def _object(cells: Sequence[tuple[bytes, Cell]], line: Sequence[str]) -> bytes:
    members = []
    for (start, write), text in zip(cells, line, strict=True):
        if text and (value := write(text)) is not None:
            members.append(start + value)
    return b"{" + b",".join(members) + b"}"


def _cell(dtype: DType | None) -> Cell:
    if dtype is None:
        return _list
    if dtype is DType.TEXT:
        return orjson.dumps
    return _flag if dtype is DType.BOOL else _number


def _list(text: str) -> bytes | None:
    bare = text.strip()
    if not bare.startswith("["):
        return _number(text)
    try:
        json.loads(bare)
    except (ValueError, RecursionError):  # it would go on in the record as other fields
        return orjson.dumps(text)
    return bare.encode()


def _flag(text: str) -> bytes | None:
    return _FLAGS.get(text.strip().lower()) or orjson.dumps(text)


def _number(text: str) -> bytes | None:
    if _JSON_NUMBER.fullmatch(text):
        return text.encode()
    bare = text.strip()
    if not bare or bare.lower() == "nan":
        return None
    if _NUMBER.fullmatch(bare):
        sign, digits = ("-" if bare[0] == "-" else ""), bare.lstrip("+-")
        whole, point, rest = digits.partition(".")
        whole = whole.lstrip("0") or "0" if point or whole.isdigit() else whole.lstrip("0")
        exact = sign + whole + (f".{rest}" if rest[:1].isdigit() else rest)
        return exact.encode() if _JSON_NUMBER.fullmatch(exact) else repr(float(bare)).encode()
    if infinite := _INFINITE.fullmatch(bare):
        return b"-Infinity" if infinite[1] == "-" else b"Infinity"  # which the codec refuses by its name
    return orjson.dumps(text)


def _some(names: Mapping[str, DType | None] | Sequence[str]) -> str:
    shown = list(names)[:10]
    return ", ".join(shown) + (" ..." if len(names) > len(shown) else "")
