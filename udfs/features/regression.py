"""A custom aggregate as an example: the slope of the least-squares line through the points of a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from udfs.features.base import Fields


class Slope:
    """Declared as `Custom(aggregation="udfs.features.regression:Slope", columns=("x", "y"), type="float64")`.

    A partial is the count, both means, the sum of squares of x about its mean, and the sum of products; they
    merge as moments do (Chan, Golub, LeVeque 1979). A point with a null is passed over. Null for fewer than
    two different x.
    """

    dtypes = (np.float64,) * 5
    identity = (0.0,) * 5

    def lift_fields(self, columns: Sequence[pa.Array]) -> Fields:
        x, y = (c.cast(pa.float64()) for c in columns)
        there = pc.and_(x.is_valid(), y.is_valid()).to_numpy(zero_copy_only=False)
        x, y = (np.where(there, c.fill_null(0).to_numpy(zero_copy_only=False), 0.0) for c in (x, y))
        return [there.astype(np.float64), x, y, np.zeros(len(x)), np.zeros(len(x))]

    def merge(self, earlier: Fields, later: Fields) -> Fields:
        n, x, y, squares, products = earlier
        m, other_x, other_y, more_squares, more_products = later
        both = n + m
        share = np.divide(m, both, out=np.zeros_like(both), where=both > 0)
        step_x, step_y = other_x - x, other_y - y
        merged = [
            both,
            x + step_x * share,
            y + step_y * share,
            squares + more_squares + step_x * step_x * n * share,
            products + more_products + step_x * step_y * n * share,
        ]
        return [
            np.where(m == 0, a, np.where(n == 0, b, c))
            for a, b, c in zip(earlier, later, merged, strict=True)
        ]

    def results(self, fields: Fields) -> pa.Array:
        _, _, _, squares, products = fields
        flat = ~(squares > 0)
        return pa.array(np.divide(products, squares, out=np.zeros(len(squares)), where=~flat), mask=flat)
