"""What a policy sees, and what it says: one row a candidate, one column a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PlanError
from schemas.plans.plan import Policy, tag_of

Values = Sequence[NDArray | None]
"""One column `(n, ...)` a candidate; None where it has none that the policy can use."""


@dataclass(frozen=True, slots=True)
class Votes:
    """The answers of V candidates (one or more) about n records; shadows are not among them.

    `names` are ascending. `has`, `pending`: bool `(V, n)`; a record of which neither holds was not asked
    about, or its answer is that there is none. `arrival`: `(V,)`, the rank of each answer, huge before it.
    `columns`: the outputs of each candidate, to be read where `has`.
    """

    names: tuple[str, ...]
    has: NDArray
    pending: NDArray
    arrival: NDArray
    columns: tuple[Mapping[str, NDArray], ...]
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.has.shape[1]

    def values(self, output: str, of: Callable[[NDArray], NDArray | None]) -> Values:
        """Each candidate's `output`, as `of` makes it comparable (None: it cannot be used)."""
        return [of(columns[output]) if output in columns else None for columns in self.columns]

    def usable(self, values: Values) -> NDArray:
        """`(V, n)`: who has an answer with a usable value."""
        able = np.array([value is not None for value in values], dtype=bool)
        return self.has & able[:, None]


@dataclass(frozen=True, slots=True)
class Piece:
    """`columns` `(n, ...)`, which hold the decision where `mask` does."""

    mask: NDArray
    columns: Mapping[str, NDArray]
    by: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one policy says about n records.

    `decided`: bool `(n,)`; `open`: bool `(n,)`, where answers to come may change what it says. `pieces` hold
    the decisions, at most one a record. `why`: `(n,)` indices into `reasons`, to be read where not decided.
    """

    decided: NDArray
    open: NDArray
    pieces: Sequence[Piece]
    why: NDArray
    reasons: Sequence[str]


@singledispatch
def judge(policy: Policy, votes: Votes) -> Verdict:
    """What a policy says. Each policy's function registers itself here by the type of its first argument."""
    raise PlanError(f"no function decides by the policy {tag_of(policy)!r}")


def numbers(column: NDArray) -> NDArray | None:
    """A numeric column as float64, with a vector of one taken as a number; None for text."""
    if column.dtype.kind not in "fiub":
        return None
    return _plain(column).astype(np.float64)


def scalars(column: NDArray) -> NDArray | None:
    """As `numbers`, but one number a record: None for longer vectors."""
    found = numbers(column)
    return found if found is not None and found.ndim == 1 else None


def labels(column: NDArray) -> NDArray | None:
    """What a record is classified as: its text or number, or of a vector the index of the largest element.

    None for vectors of text, empty vectors and what has more than one dimension a record.
    """
    column = _plain(column)
    if column.ndim == 1:
        return column
    if column.ndim > 2 or column.dtype.kind not in "fiub" or not column.shape[1]:
        return None
    return column.argmax(axis=1)


def largest(column: NDArray) -> NDArray | None:
    """The largest number of each record's value; None where there is none."""
    found = numbers(column)
    if found is None or (found.ndim > 1 and 0 in found.shape[1:]):
        return None
    return found.reshape(len(found), -1).max(axis=1) if found.ndim > 1 else found


def _plain(column: NDArray) -> NDArray:
    return column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
