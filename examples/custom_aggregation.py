"""An aggregation of one's own: the geometric mean of positive numbers.

A view names it as `Custom(aggregation="examples.custom_aggregation:GeometricMean", columns=("factor",),
type=FeatureType.FLOAT64)`; the module must be importable where the job runs. This program shows that windows
may be cut into tiles anywhere: partials merge to the same value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.aggregations import Fields, FixedAggregation


class GeometricMean:
    """exp(mean(log x)) of the values above 0, float64; null where there is none. A partial: count, sum of
    logs."""

    dtypes = (np.int64, np.float64)
    identity = (0, 0.0)

    def lift_fields(self, columns: Sequence[pa.Array]) -> Fields:
        values = columns[0].cast(pa.float64())
        there = pc.fill_null(pc.greater(values, 0.0), False).to_numpy(zero_copy_only=False)
        numbers = np.where(there, values.fill_null(1.0).to_numpy(zero_copy_only=False), 1.0)
        return [there.astype(np.int64), np.log(numbers)]

    def merge(self, earlier: Fields, later: Fields) -> Fields:
        return [a + b for a, b in zip(earlier, later, strict=True)]

    def results(self, fields: Fields) -> pa.Array:
        count, logs = fields
        return pa.array(np.exp(logs / np.maximum(count, 1)), mask=count == 0)


def geometric_mean(aggregation: FixedAggregation, tiles: Sequence[pa.Array]) -> float | None:
    """The value of one window over its tiles, each an array of values in order of time."""
    start = zip(aggregation.identity, aggregation.dtypes, strict=True)
    window: Fields = [np.array([value], kind) for value, kind in start]
    for tile in tiles:
        for i in range(len(tile)):
            window = aggregation.merge(window, aggregation.lift_fields([tile.slice(i, 1)]))
    value: float | None = aggregation.results(window)[0].as_py()
    return value


def main() -> None:
    values = pa.array([1.0, 4.0, None, -2.0, 16.0])
    print(geometric_mean(GeometricMean(), [values]))
    print(geometric_mean(GeometricMean(), [values.slice(0, 2), values.slice(2)]))
    print(geometric_mean(GeometricMean(), []))


if __name__ == "__main__":
    main()
