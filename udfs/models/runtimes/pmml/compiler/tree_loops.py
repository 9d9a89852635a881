"""The loops over rows and trees as machine code. Imported where trees are walked and numba is installed.

Numba compiles them at import and keeps the machine code on disk beside this file, or in the user's cache;
where neither may be written each process that imports this compiles anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_TESTS = (
    "int8[::1], int32[::1], float64[::1], int32[::1], int32[::1], int32[::1], int32[::1], "
    "float64[::1], int64[::1]"
)


def _compiled(*signatures: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile for these argument types now, so that processes forked later have the machine code, too."""

    def compile_now(loop: Callable[..., Any]) -> Any:
        try:
            return numba.njit(list(signatures), cache=True)(loop)
        except (RuntimeError, OSError):  # there is no folder in which machine code may be kept
            return numba.njit(list(signatures))(loop)

    return compile_now


@numba.njit(inline="always")
def _walk(x, operators, asks, constants, yes, no, unknown, sets, bounds, at):  # noqa: PLR0917
    """The leaf where one row `(features,)` ends in one tree; see `tree_graph`."""
    while at >= 0:
        value = x[asks[at]]
        kind = operators[at]
        if value != value:  # noqa: PLR0124 - NaN: the value is missing
            at = yes[at] if kind == 3 else unknown[at]
        elif kind == 0:
            at = yes[at] if value <= constants[at] else no[at]
        elif kind == 1:
            at = yes[at] if value == constants[at] else no[at]
        elif kind == 2:
            which = int(constants[at])
            found = False
            for k in range(bounds[which], bounds[which + 1]):
                if sets[k] == value:
                    found = True
                    break
            at = yes[at] if found else no[at]
        else:
            at = no[at]
    return -1 - at


@_compiled(f"int32[:, ::1](float64[:, ::1], {_TESTS})")
def leaves(x, operators, asks, constants, yes, no, unknown, roots, sets, bounds):  # noqa: PLR0917
    out = np.empty((x.shape[0], roots.shape[0]), np.int32)
    for tree in range(roots.shape[0]):
        for row in range(x.shape[0]):
            out[row, tree] = _walk(
                x[row], operators, asks, constants, yes, no, unknown, sets, bounds, roots[tree]
            )
    return out


@_compiled(
    *(f"void(float64[:, ::1], {_TESTS}, {t}[:, ::1], {t}[::1], {t}[:, ::1])" for t in ("float64", "float32"))
)
def sums(x, operators, asks, constants, yes, no, unknown, roots, sets, bounds, values, weights, out):  # noqa: PLR0917
    for tree in range(roots.shape[0]):
        for row in range(x.shape[0]):
            leaf = _walk(x[row], operators, asks, constants, yes, no, unknown, sets, bounds, roots[tree])
            for k in range(values.shape[1]):
                out[row, k] += values[leaf, k] * weights[tree]
