"""Avro schemas: parsed, with bounds, and records read by them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from schemas.codecs.avro_logical import marked
from schemas.codecs.avro_resolution import with_defaults
from schemas.codecs.avro_wire import Wire
from schemas.errors import CodecError


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """`parsed`: by fastavro, logical types marked with what converts their values; `wire`: reads by it."""

    parsed: Any
    wire: Wire


def schema_file(path: str, *, reads: bool = True) -> AvroSchema:
    """The schema of an .avsc, see `avro_schema`. Raises `CodecError`."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise CodecError(f"cannot read the Avro schema {path}: {e}") from e
    return avro_schema(raw, path, reads=reads)


def avro_schema(raw: Any, name: str, *, reads: bool = True) -> AvroSchema:
    """A schema as it was written; `name` is what messages call it.

    `reads`: records of others are read as it has them, so that its defaults must be values. Nobody asks for
    those of a schema that only writes, and some are none: a decimal of "0.00", which are four bytes.

    Raises `CodecError` for one that is not valid or not of records, and for four kinds that a few bytes can
    turn into unbounded work: recursive ones, deep ones, arrays of items that take no bytes, and with many
    parts that take none.
    """
    try:
        if not isinstance(raw, dict) or raw.get("type") != "record":
            raise CodecError(f"the Avro schema {name} is no record: features are fields of a record")
        parsed = fastavro.parse_schema(marked(raw))
        _Bounded(name).visit(parsed)
        try:
            meant = with_defaults(parsed)  # also of one that writes: it may be the reader's, which is faster
        except Exception:
            if reads:
                raise
            meant = parsed
        return AvroSchema(meant, Wire(meant))
    except CodecError:
        raise
    except Exception as e:
        raise CodecError(f"the Avro schema {name} is not valid: {type(e).__name__} {e}") from e


def read_record(body: bytes, writer: AvroSchema, reader: AvroSchema | None = None) -> dict:
    """The record in `body`, written by `writer`, as `reader` has it. Raises `UnfitError`."""
    return writer.wire.read(body) if reader is None else writer.wire.read_as(body, reader.wire)


_MOST_NOTHING = 100
_MOST_DEEP = 200
"""Records, lists and maps within each other: JSON is written 254 deep at most."""


class _Bounded:
    """Refuses what fastavro would follow without end: it recurses in C, down to a crash of the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._empty: dict[str, bool] = {"null": True}  # type name -> its values take no bytes
        self._nothing: dict[str, int] = {"null": 1}  # type name -> parts of a value that take no bytes
        self._deep: dict[str, int] = {}  # type name -> how deep its values are

    def visit(self, part: Any, within: tuple[str, ...] = ()) -> bool:
        """Whether values of this type take no bytes. `part` is parsed: its names are full names."""
        if isinstance(part, str):
            if part in within:
                raise CodecError(f"the Avro schema {self._name} is recursive at {part}: flatten it")
            return self._empty.get(part, False)
        if isinstance(part, list):
            for branch in part:
                self.visit(branch, within)
            return False  # the index of the branch takes a byte
        kind = part["type"]
        if kind in ("record", "error"):
            inner = (*within, part["name"])
            sizes = [self.visit(f["type"], inner) for f in part["fields"]]
            nothing = all(sizes) + sum(self._count(f["type"]) for f in part["fields"])
            if nothing > _MOST_NOTHING:
                said = (
                    f"the Avro schema {self._name} has in {part['name']} {nothing:,} parts that take no bytes"
                )
                raise CodecError(said)
            self._nothing[part["name"]] = nothing
            deep = self._deep[part["name"]] = self._depth(part)
            if deep > _MOST_DEEP:
                raise CodecError(f"the Avro schema {self._name} is nested {deep} deep: flatten it")
            self._empty[part["name"]] = all(sizes)
            return all(sizes)
        if kind == "fixed":
            self._empty[part["name"]] = part["size"] == 0
            self._nothing[part["name"]] = int(part["size"] == 0)
            return part["size"] == 0
        if kind == "array" and self.visit(part["items"], within):
            raise CodecError(f"the Avro schema {self._name} has an array of items that take no bytes")
        if kind == "map":
            self.visit(part["values"], within)
        return self._empty.get(kind, False) if isinstance(kind, str) else self.visit(kind, within)

    def _count(self, part: Any) -> int:
        """Parts that take no bytes, of a value whose named types have been visited; of lists in one item."""
        if isinstance(part, str):
            return self._nothing.get(part, 0)
        if isinstance(part, list):
            return max(map(self._count, part), default=0)
        inner = part.get("items", part.get("values"))
        if inner is not None:
            return self._count(inner)
        kind = part["type"]
        if "name" in part:
            return self._nothing.get(part["name"], 0)
        return self._count(kind)

    def _depth(self, part: Any) -> int:
        """How many records, lists and maps are within each other in a value of a type whose named types have
        been visited."""
        if isinstance(part, str):
            return self._deep.get(part, 0)
        if isinstance(part, list):
            return max(map(self._depth, part), default=0)
        kind = part["type"]
        if kind in ("record", "error"):
            return self._deep.get(part["name"]) or 1 + self._depth([f["type"] for f in part["fields"]])
        if kind in ("array", "map"):
            return 1 + self._depth(part["items" if kind == "array" else "values"])
        return self._depth(kind)
