"""The fast way through JSON where readings are declared: nested single numbers, and defaults.

As `typed`, with one more pass over a record's values for what is absent. A micro-batch in which one record is
not as declared is read again record by record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from schemas.codecs.field_reading import FieldReading, Form, Readings
from schemas.codecs.matrices import check_utf8
from schemas.codecs.matrix import FLOATS
from schemas.codecs.typed import Packed, leaf_type
from schemas.tensors import Columns, Input


class PathReader:
    """Reads inputs of single numbers and flags. Raises `ValueError` where a declaration asks for more."""

    def __init__(self, inputs: Sequence[Input], readings: Readings) -> None:
        declared = {r.name: r for r in readings}
        tree: dict[str, Any] = {}
        leaves: list[str] = []
        self._absent: list[Any] = []
        for i in inputs:
            for name in i.fields:
                reading = declared.get(name) or FieldReading(name, (name,))
                leaves.append(_add(tree, reading, i))
                self._absent.append(_absent(reading, i))
        record = _struct(tree)
        self._decode = msgspec.json.Decoder(record).decode
        self._get: Callable[[Any], Any] = attrgetter(*leaves) if len(leaves) > 1 else _one(leaves[0])
        self._packed = Packed(inputs)

    def columns(self, payloads: Sequence[bytes]) -> Columns:
        """Columns of all payloads, or any exception where one of them is not as wanted."""
        check_utf8(payloads)
        packed, pack, absent = bytearray(), self._packed.pack, self._absent
        for values in map(self._get, map(self._decode, payloads)):
            if None in values:
                packed += pack(*[a if v is None else v for v, a in zip(values, absent, strict=True)])
            else:
                packed += pack(*values)
        return self._packed.columns(packed, len(payloads))


def _one(leaf: str) -> Callable[[Any], tuple[Any]]:
    get = attrgetter(leaf)
    return lambda record: (get(record),)


def _absent(reading: FieldReading, wanted: Input) -> Any:
    """What stands for no value; None, which cannot be packed, where there must be one."""
    if reading.default is not None:
        return reading.default
    return math.nan if wanted.optional or reading.missing else None


def _add(tree: dict[str, Any], reading: FieldReading, wanted: Input) -> str:
    """Put the field into the tree of names, and say by which attributes its value is found."""
    simple = (
        reading.form is Form.AS_IS and reading.constant is None and reading.pad is None and not reading.keep
    )
    if not simple or not all(isinstance(step, str) for step in reading.path):
        raise ValueError(f"more than a path and a default: {reading.name}")
    if wanted.shape and len(wanted.fields) == 1:
        raise ValueError(f"a list: {wanted.name}")
    may_lack = reading.default is not None or reading.missing or wanted.optional
    if may_lack and not isinstance(_absent(reading, wanted), int | float):
        raise ValueError(f"no number: {reading.default!r}")
    if (wanted.optional or reading.missing) and wanted.dtype not in FLOATS:
        raise ValueError("missing, and not a number with a fraction")
    *outer, last = map(str, reading.path)
    attributes = []
    for step in outer:
        entry = tree.setdefault(step, {"at": f"n{len(tree)}", "tree": {}})
        if "tree" not in entry:
            raise ValueError(f"{step!r} is a value and an object")
        attributes.append(entry["at"])
        tree = entry["tree"]
    if last in tree:
        raise ValueError(f"{last!r} is read twice")
    kind = leaf_type(wanted)
    tree[last] = {"at": f"f{len(tree)}", "type": kind | None if may_lack else kind, "may_lack": may_lack}
    return ".".join([*attributes, tree[last]["at"]])


def _struct(tree: Mapping[str, Any]) -> Any:
    """A type for the tree. An object in which nothing must be may itself be absent."""
    fields: list[Any] = []
    for entry in tree.values():
        if "tree" not in entry:
            fields.append(
                (entry["at"], entry["type"], None) if entry["may_lack"] else (entry["at"], entry["type"])
            )
            continue
        inner = _struct(entry["tree"])
        try:
            fields.append((entry["at"], inner, inner()))
        except TypeError:  # something in it must be
            fields.append((entry["at"], inner))
    rename = {entry["at"]: name for name, entry in tree.items()}
    return msgspec.defstruct("Record", fields, rename=rename, kw_only=True, gc=False, frozen=True)
