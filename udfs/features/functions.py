"""Vectorised functions by name: steps over events, derived features over rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from schemas.errors import FeatureError
from schemas.features.declarations import Derived, Function
from schemas.features.feature_batch import ARROW


def resolve(name: str) -> Callable[..., Any]:
    """`module:name` -> what it names. Raises `FeatureError` where it cannot be had or is not callable."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as e:  # importing runs the user's code
        raise FeatureError(f"function {name!r} cannot be had: {type(e).__name__}: {e}") from e
    if not callable(found):
        raise FeatureError(f"{name!r} is not a function but {type(found).__name__}")
    return found


def _series(column: pa.Array) -> Any:
    """A pandas Series. Integers beside nulls are of pandas' nullable type: its usual one would make them
    floats, which hold no more than 53 bits."""
    if not (column.null_count and pa.types.is_int64(column.type)):
        return column.to_pandas()
    import pandas as pd  # noqa: PLC0415 - where a function wants it only

    return column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


class FunctionCall:
    """A declared function, ready to be called with the columns of a batch."""

    def __init__(self, declared: Function | Derived) -> None:
        self._declared = declared
        self._function = resolve(declared.function)

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        """n values of the declared type. Raises `FeatureError` where the function fails or gives others."""
        declared = self._declared
        columns = [batch.column(name) for name in declared.inputs]
        if declared.over == "pandas":
            columns = [_series(column) for column in columns]
        try:
            found = self._function(*columns)
            if isinstance(found, pa.ChunkedArray):
                found = found.combine_chunks()
            if not isinstance(found, pa.Array):
                found = pa.Array.from_pandas(found, type=ARROW[declared.type])
            found = found.cast(ARROW[declared.type])
        except Exception as e:  # the user's function may raise anything
            raise FeatureError(
                f"{declared.function} failed for {declared.name!r}: {type(e).__name__}: {e}"
            ) from e
        if len(found) != batch.num_rows:
            raise FeatureError(
                f"{declared.function} gave {len(found)} values of {declared.name!r} for {batch.num_rows} rows"
            )
        return found
