"""What another evaluator, pypmml, says of the same document and rows. It serves nothing.

It is known to be wrong in many documents (float fields, missing integers, averaged trees): where the two
differ, the difference is a reason to look, not a proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from schemas.errors import ModelError, PredictError
from schemas.tensors import LIST, Columns
from udfs.models.runtimes.pmml.document import parse
from udfs.models.runtimes.pmml.jvm import JvmModel
from udfs.models.runtimes.pmml.runtime import PmmlRuntime

ROWS = 64
RELATIVE, ABSOLUTE = 1e-6, 1e-9
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Opinion:
    """`rows` that both were asked, `compared`: the outputs that both give. `differences`: sentences with the
    row (from 1), empty where they agree. `note`: why the other could not be asked, if so."""

    rows: int = 0
    compared: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    note: str = ""


def second_opinion(runtime: PmmlRuntime, data: bytes, columns: Columns | None = None) -> Opinion:
    """Compare the compiled document `data` with pypmml on the rows of `columns`, else on made-up ones."""
    if columns is None:
        columns = runtime.sample(ROWS)
    assert columns is not None
    if any(i.shape == LIST for i in runtime.inputs):
        return Opinion(note="pypmml takes no lists")
    try:
        other = JvmModel(parse(data).text())
    except ModelError as e:
        return Opinion(note=str(e))
    try:
        return _compared(runtime, other, columns)
    except PredictError as e:
        return Opinion(note=f"pypmml fails: {e}")
    finally:
        other.close()


def _compared(runtime: PmmlRuntime, other: JvmModel, columns: Columns) -> Opinion:
    count = len(next(iter(columns.values())))
    ours, silent = _answers(runtime, columns, count)
    theirs = other.scored({name: column.tolist() for name, column in columns.items()})
    compared = tuple(name for name in ours if name in theirs)
    differences = tuple(
        f"row {row + 1}: {name} is {said!r}, by pypmml {theirs[name][row]!r}"
        for name in compared
        for row, said in enumerate(ours[name])
        if not _alike(None if row in silent else said, theirs[name][row])
    )
    note = "" if compared else "pypmml gives none of the model's outputs"
    return Opinion(count, compared, differences, note)


def _answers(runtime: PmmlRuntime, columns: Columns, count: int) -> tuple[dict[str, list[Any]], set[int]]:
    """Our outputs, None in the rows without a result; and those rows."""
    try:
        return {name: column.tolist() for name, column in runtime.predict(columns).items()}, set()
    except PredictError as e:
        if not e.rows:
            raise
        keep = [k for k in range(count) if k not in e.rows]
        out: dict[str, list[Any]] = {o.name: [None] * count for o in runtime.outputs}
        scored = runtime.predict({name: column[keep] for name, column in columns.items()}) if keep else {}
        for name, column in scored.items():
            for at, value in zip(keep, column.tolist(), strict=True):
                out[name][at] = value
        return out, set(e.rows)


def _alike(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is None and (other is None or (isinstance(other, float) and math.isnan(other)))
    try:
        return math.isclose(float(one), float(other), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except ValueError:
        return str(one).lower() == str(other).lower()


def sentences(opinion: Opinion) -> list[str]:
    """The opinion for a person, the first differences only."""
    if opinion.note:
        return [f"no second opinion: {opinion.note}"]
    told = ", ".join(opinion.compared)
    if not opinion.differences:
        return [f"pypmml agrees on {opinion.rows} rows ({told})"]
    shown = list(opinion.differences[:_SHOWN])
    more = len(opinion.differences) - len(shown)
    return [*shown, f"and {more} more differences from pypmml" if more else f"compared: {told}"]
