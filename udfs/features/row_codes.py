"""Rows as numbers: which of the different combinations of values in some columns each has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_FEW = 128
"""Rows up to which a loop over values is faster than the calls of whole columns."""


def row_codes(columns: Sequence[pa.Array]) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
    """Of n rows, from columns of shape (n,), at least one: the values of each row as an index into the
    different combinations, and these. Nulls are values like others."""
    if len(columns[0]) <= _FEW:
        return _few_codes(columns)
    codes = np.zeros(len(columns[0]), np.int64)
    combinations: list[tuple[Any, ...]] = [()]
    for column in columns:
        encoded = column.dictionary_encode(null_encoding="encode")
        values = _values(encoded.dictionary)
        # numbered anew at each column: the product of all their sizes may be beyond 64 bits
        both = codes * len(values) + encoded.indices.to_numpy()
        if len(combinations) == 1:
            codes, combinations = both, [(*combinations[0], value) for value in values]
            continue
        found, codes = np.unique(both, return_inverse=True)
        pairs = zip((found // len(values)).tolist(), (found % len(values)).tolist(), strict=True)
        combinations = [(*combinations[one], values[other]) for one, other in pairs]
    return codes.astype(np.int64), combinations


def _few_codes(columns: Sequence[pa.Array]) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
    of: dict[tuple[Any, ...], int] = {}
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    codes = [of.setdefault(row, len(of)) for row in rows]
    return np.array(codes, np.int64), list(of)


def _values(dictionary: pa.Array) -> list[Any]:
    if dictionary.null_count:
        return dictionary.to_pylist()
    return dictionary.to_numpy(zero_copy_only=False).tolist()
