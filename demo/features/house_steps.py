"""The functions that the views of house prices name."""

from __future__ import annotations

import pandas as pd

_DAY_MS = 86_400_000


def per_square_metre(price: pd.Series, area: pd.Series) -> pd.Series:
    """Raises `ValueError` for a house without area."""
    if (area <= 0).any():
        raise ValueError("a house has an area above 0")
    return price / area


def day(at: pd.Series) -> pd.Series:
    """Epoch milliseconds as days since the epoch, with their fraction."""
    return at / _DAY_MS
