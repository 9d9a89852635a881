"""Whether an answer depends on the records beside it, or on the calls before it.

Micro-batches are cut by time: the same record comes with other neighbours after a restart, and is scored
again at a replay. A model that normalises by its batch, or keeps a running mean, then answers otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SmokeTestError
from schemas.tensors import Columns, Output

ROWS = 3
"""Records that are asked together and alone; the more of them differ, the more is seen."""

CROWD = 16
"""Records of one call in which these are the last: three show too little of a class, of a rank, or of a model
that drops what is too much for it."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far sums in another order may lie apart, in float32 and narrower."""

_MEND = (
    "export the model for serving (no normalisation by the batch, no dropout, no state, no padding to the "
    "longest of a batch), choose other outputs by --output, or say by --batch-dependent that it is meant"
)


def differences(
    predict: Callable[[Columns], Columns], columns: Columns, outputs: Sequence[Output]
) -> list[str]:
    """What of some rows is answered otherwise at a second call, or alone; sentences, none for a good model.

    Each row is asked alone: the first of a running sum and the largest of what is divided by the largest are
    answered as ever. Where a second call differs, nothing can be said of neighbours.
    """
    first, second = predict(columns), predict(columns)
    told = _differing(first, second, outputs)
    if told:
        return [f"the same records get other answers at a second call, in output {_named(told)}"]
    for row in range(_count(columns)):
        alone = predict({name: column[row : row + 1] for name, column in columns.items()})
        told = _differing({n: c[row : row + 1] for n, c in second.items()}, alone, outputs)
        if told:
            return [f"a record gets another answer alone than beside others, in output {_named(told)}"]
    return []


def in_a_crowd(
    predict: Callable[[Columns], Columns], columns: Columns, others: Columns, outputs: Sequence[Output]
) -> list[str]:
    """What of some rows is answered otherwise behind `others` than without them; as `differences`."""
    few = predict(columns)
    crowd = predict({name: np.concatenate([others[name], column]) for name, column in columns.items()})
    count = _count(columns)
    told = _differing(few, {name: column[-count:] for name, column in crowd.items()}, outputs)
    if not told:
        return []
    beside = f"beside {_count(others) + count - 1} others than beside {count - 1}"
    return [f"a record gets another answer {beside}, in output {_named(told)}"]


def check_meant(found: Sequence[str], meant: bool) -> None:
    """Raise `SmokeTestError` for what was `found` where it is not `meant`."""
    if found and not meant:
        raise SmokeTestError(f"{found[0]}: {_MEND}")


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _differing(one: Columns, other: Columns, outputs: Sequence[Output]) -> list[str]:
    return [o.name for o in outputs if not _same(np.asarray(one[o.name]), np.asarray(other[o.name]))]


def _same(one: NDArray, other: NDArray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    with np.errstate(all="ignore"):
        largest = np.maximum(np.abs(one), np.abs(other))
        close = np.abs(one - other) <= RELATIVE * largest + ABSOLUTE
    return bool((close | (one == other) | (np.isnan(one) & np.isnan(other))).all())
