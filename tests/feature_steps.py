"""Functions that declarations in tests name."""

from __future__ import annotations

import numpy as np
import pandas as pd


def root(amount: pd.Series) -> pd.Series:
    """Square roots; raises `ValueError` where there is none."""
    if (amount < 0).any():
        raise ValueError("a negative amount has no root")
    return np.sqrt(amount)
