"""Feature rows as lines of text, which the JVM takes apart: far cheaper than a Flink row for each.

Fields are separated by U+001F, lines by a newline. An empty field is null. Numbers and bools are as
pyarrow's CSV writer puts them, to the last bit. Text that is empty, or holds what could be mistaken, is
U+0010 and its UTF-8 in hex. A list begins with the separator of its items, which none of them holds; a
list of nothing but one empty text is `=`, since the separator alone is an empty list.
`operators.sinks.history_sink` reads this in SQL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

FIELD, HEX, BLANK = "\x1f", "\x10", "="
_UNSAFE = '[\n\r"\x1f]|^\x10|^$'
_OPTIONS = csv.WriteOptions(include_header=False, delimiter=FIELD, quoting_style="none")
_SEPARATORS = [chr(c) for c in (0x1D, 0x1C, 0x1E, *range(1, 9), *range(0xE000, 0xF8FF))]


def to_lines(rows: pa.RecordBatch) -> bytes:
    """The rows, in order, without a newline after the last one."""
    columns = [_field(column) for column in rows.columns]
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.RecordBatch.from_arrays(columns, names=rows.schema.names), sink, _OPTIONS)
    return sink.getvalue().to_pybytes()[:-1]


def _field(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return _text(column)
    if pa.types.is_list(column.type):
        return _text(_list(column))
    if pa.types.is_floating(column.type) and not _all_finite(column):
        return pa.array([None if v is None else _number(v) for v in column.to_pylist()], pa.string())
    return column


def _all_finite(column: pa.Array) -> bool:
    values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
    return bool(np.isfinite(values).all())


def _text(column: pa.Array) -> pa.Array:
    """Each text that stands in it is looked at once: many columns hold a few, again and again."""
    encoded = column.dictionary_encode()
    texts = encoded.dictionary
    unsafe = pc.match_substring_regex(texts, _UNSAFE)
    if not pc.any(unsafe).as_py():
        return column
    values, marks = texts.to_numpy(zero_copy_only=False), unsafe.to_numpy(zero_copy_only=False)
    coded = [HEX + v.encode().hex() if mark else v for v, mark in zip(values, marks.tolist(), strict=True)]
    return pa.array(coded, pa.string()).take(encoded.indices)


def _list(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type.value_type):
        made = [None if v is None else _strings(v) for v in column.to_pylist()]
    else:
        made = [None if v is None else "," + ",".join(map(_number, v)) for v in column.to_pylist()]
    return pa.array(made, pa.string())


def _strings(items: Sequence[str]) -> str:
    if len(items) == 1 and not items[0]:
        return BLANK
    separator = next(s for s in _SEPARATORS if not any(s in item for item in items))
    return separator + separator.join(items)


def _number(value: float) -> str:
    """As Java reads it."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
