"""Aggregations of users' own, for `millrace.views.Custom`.

A class is an `Aggregation`, or, where its partial is a few numbers, the faster `FixedAggregation`.
A view names it as `module:Class`; the class is made with the declaration's `arguments`. `Slope` is one as an
example. `pyarrow` and `numpy` arrays come in; every method gets events ordered by time.
"""

from __future__ import annotations

from udfs.features.base import Aggregation, Fields, FixedAggregation
from udfs.features.regression import Slope

__all__ = ["Aggregation", "Fields", "FixedAggregation", "Slope"]
