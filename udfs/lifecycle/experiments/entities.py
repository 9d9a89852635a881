"""From records to entities: an entity counts once, by the mean of its records.

Records of one entity are alike, and a test that counts them as independent is wrong far more often than it
says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError


def by_entity(
    entities: Sequence[bytes], treated: NDArray[np.bool_], values: NDArray[np.float64]
) -> tuple[list[bytes], NDArray[np.bool_], NDArray[np.float64]]:
    """Each entity once, in the order of its first record: its arm and the mean of its values, without NaN.

    Raises `ExperimentError` for an entity with records of both arms.
    """
    place: dict[bytes, int] = {}
    index = np.array([place.setdefault(entity, len(place)) for entity in entities], np.intp)
    count = len(place)
    records = np.bincount(index, minlength=count)
    with_treatment = np.bincount(index, weights=treated, minlength=count)
    mixed = (with_treatment > 0) & (with_treatment < records)
    if mixed.any():
        first = list(place)[int(np.argmax(mixed))]
        raise ExperimentError(f"entity {first!r} has records of both arms: take those of its first arm")
    there = ~np.isnan(values)
    known = np.bincount(index, weights=there, minlength=count)
    sums = np.bincount(index, weights=np.where(there, values, 0.0), minlength=count)
    with np.errstate(invalid="ignore"):
        means = np.where(known > 0, sums / np.maximum(known, 1), np.nan)
    return list(place), with_treatment > 0, means
