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
from udfs.models.runtimes.base import Runtime

ROWS = 3
"""Records that are asked together and alone; the more of them differ, the more is seen."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far sums in another order may lie apart, in float32 and narrower."""


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
    for row in range(len(next(iter(columns.values()), ()))):
        alone = predict({name: column[row : row + 1] for name, column in columns.items()})
        told = _differing({n: c[row : row + 1] for n, c in second.items()}, alone, outputs)
        if told:
            return [f"a record gets another answer alone than beside others, in output {_named(told)}"]
    return []


def allowed(runtime: Runtime, columns: Columns, meant: bool) -> list[str]:
    """`differences` as notes where they are `meant`. Raises `SmokeTestError` for them where they are not."""
    found = differences(runtime.predict, columns, runtime.outputs)
    if found and not meant:
        raise SmokeTestError(
            f"{found[0]}: export the model for serving (no normalisation by the batch, no dropout, no "
            "state), choose other outputs by --output, or say by --batch-dependent that it is meant"
        )
    return found


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
