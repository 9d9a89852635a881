"""Records as events: typed columns with nulls, text and lists, in one Arrow batch a micro-batch.

All encodings meet as JSON objects: Avro and protobuf records become one by their codec first (bytes in
base64, NaN as null), so that one definition says what fits a column, and it is that of serving: a whole float
is the integer that it equals, of a repeated key the last value counts. Types are strict else: a number in
quotes, a fraction for an integer and a number for a bool do not fit; an integer fits a float64 column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from schemas.codecs.base import Code, Codec, UnfitError
from schemas.codecs.json_text import parse_object
from schemas.codecs.matrices import check_utf8
from schemas.codecs.matrix import kind_of, scalar
from schemas.features.declarations import Column, FeatureType, Source
from schemas.features.feature_batch import ARROW
from schemas.features.time_units import in_ms
from schemas.tensors import BadRecord, DType

_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: dict[FeatureType, Any] = {
    FeatureType.INT64: _INT64,
    FeatureType.FLOAT64: float,
    FeatureType.BOOL: bool,
    FeatureType.STRING: str,
    FeatureType.TIMESTAMP: _INT64,
    FeatureType.INT64_LIST: list[_INT64],
    FeatureType.FLOAT64_LIST: list[float],
    FeatureType.STRING_LIST: list[str],
}
_LISTS = frozenset({FeatureType.INT64_LIST, FeatureType.FLOAT64_LIST, FeatureType.STRING_LIST})
_DTYPES = {
    FeatureType.INT64: DType.INT64,
    FeatureType.FLOAT64: DType.FLOAT64,
    FeatureType.BOOL: DType.BOOL,
    FeatureType.STRING: DType.TEXT,
    FeatureType.TIMESTAMP: DType.INT64,
    FeatureType.INT64_LIST: DType.INT64,
    FeatureType.FLOAT64_LIST: DType.FLOAT64,
    FeatureType.STRING_LIST: DType.TEXT,
}


@dataclass(frozen=True, slots=True)
class Events:
    """`batch`: the columns of the good records; `rows`: their indices among all; `bad`: the others."""

    batch: pa.RecordBatch
    rows: Sequence[int]
    bad: Sequence[BadRecord]


class EventReader:
    """Reads records of one source. `codec`: what its settings say, see `udfs.io.record_codecs`."""

    def __init__(self, source: Source, codec: Codec) -> None:
        self._columns = source.columns
        self._codec = codec
        self._is_json = source.codec.raw_json
        self._max_bytes = source.codec.max_bytes
        self._names = names = [f"f{i}" for i in range(len(self._columns))]
        fields = [_field(name, column) for name, column in zip(names, self._columns, strict=True)]
        rename = {name: column.name for name, column in zip(names, self._columns, strict=True)}
        # no cycles can arise: without it each record is one more object for the collector to follow
        self._form = msgspec.defstruct("Event", fields, rename=rename, gc=False, kw_only=True)
        self._decoder = msgspec.json.Decoder(self._form)
        self._getters = [attrgetter(name) for name in names]
        self.schema = pa.schema([(c.name, ARROW[c.type]) for c in self._columns])

    def read(self, payloads: Sequence[bytes]) -> Events:
        """Never raises for what a payload holds: such a record is a `BadRecord`."""
        if self._is_json and payloads and max(map(len, payloads)) <= self._max_bytes and all(payloads):
            try:
                check_utf8(payloads)
                # a line cannot hold two records, nor half of one; a newline in JSON is mere space
                found = self._decoder.decode_lines(b"\n".join(map(_one_line, payloads)))
            except Exception:  # noqa: S110 - one of them is bad: find out which
                pass
            else:
                if len(found) == len(payloads):
                    return Events(self._batch(found), range(len(found)), ())
        return self._each(payloads)

    def _each(self, payloads: Sequence[bytes]) -> Events:
        good, rows, bad = [], [], []
        for row, payload in enumerate(payloads):
            text: bytes | None = payload
            if not self._is_json or not payload or len(payload) > self._max_bytes:
                text = self._codec.to_json(payload)
            if text is None:
                bad.append(self._unparsable(row, payload))
                continue
            try:
                good.append(self._one(text))
                rows.append(row)
            except UnfitError as e:
                bad.append(e.at(row))
        return Events(self._batch(good), rows, bad)

    def _one(self, text: bytes) -> Any:
        """One event. msgspec is quick and stricter than the rule, which has the last word."""
        try:
            check_utf8((text,))
            return self._decoder.decode(text)
        except Exception:
            record = parse_object(text)
        values = (_value(record, column) for column in self._columns)
        return self._form(**dict(zip(self._names, values, strict=True)))

    def _batch(self, found: Sequence[Any]) -> pa.RecordBatch:
        arrays = [
            in_ms(pa.array(list(map(get, found)), field.type), column.unit)
            for get, field, column in zip(self._getters, self.schema, self._columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _unparsable(self, row: int, payload: bytes) -> BadRecord:
        said = self._codec.decode([payload], ()).bad
        if said:
            return BadRecord(row, said[0].code, said[0].reason)
        return BadRecord(row, Code.UNPARSABLE.value, "the record is no object")


def _value(record: dict[str, Any], column: Column) -> Any:
    """A column's value by the rule that serving reads numbers by; raises `UnfitError`."""
    name = column.name
    if record.get(name) is None:
        if column.nullable:
            return None
        if name not in record:
            raise UnfitError(Code.MISSING_FIELD, f"the record has no {name!r}")
        raise UnfitError(Code.NULL, f"{name!r} is null")
    value, dtype = record[name], _DTYPES[column.type]
    if column.type not in _LISTS:
        return scalar(value, dtype, name)
    if not isinstance(value, list):
        raise UnfitError(Code.WRONG_TYPE, f"field {name!r} holds {kind_of(value)} where a list belongs")
    if None in value:
        raise UnfitError(Code.WRONG_TYPE, f"the list in {name!r} has a null")
    return [scalar(item, dtype, name) for item in value]


def _field(name: str, column: Column) -> Any:
    kind = _TYPES[column.type]
    return (name, kind | None, None) if column.nullable else (name, kind)


def _one_line(payload: bytes) -> bytes:
    return payload.replace(b"\n", b" ") if b"\n" in payload else payload
