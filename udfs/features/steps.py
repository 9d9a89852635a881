"""The steps of a view: columns that are added to its events, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from schemas.errors import FeatureError
from schemas.features.declarations import (
    Declarations,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    Step,
)
from schemas.features.rules import event_types, split_steps
from udfs.features.expressions import Expressions
from udfs.features.functions import FunctionCall

STEP_FAILED = "step_failed"

Lookup = Callable[[Enrichment, pa.RecordBatch], list[pa.Array]]
"""The columns of an enrichment, in its order, as of each event's time."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A row on which a step failed, and why."""

    row: int
    reason: str


class Steps:
    """Steps in order; neighbouring expressions are one query. `known`: the columns before the first;
    `types`: of all columns, the steps' own among them."""

    def __init__(
        self,
        steps: Sequence[Step],
        known: Iterable[str],
        types: Mapping[str, FeatureType],
        expressions: Expressions,
        *,
        lookup: Lookup | None = None,
    ) -> None:
        self._parts: list[tuple[Sequence[str], Callable[[pa.RecordBatch], list[pa.Array]]]] = []
        so_far = {name: types[name] for name in known}
        for is_sql, group in groupby(steps, lambda s: isinstance(s, Expression)):
            if is_sql:
                run = [step for step in group if isinstance(step, Expression)]
                self._parts.append(([s.name for s in run], expressions.query(run, so_far)))
                so_far |= {s.name: s.type for s in run}
                continue
            for step in group:
                if isinstance(step, Function):
                    self._parts.append(([step.name], _one(FunctionCall(step))))
                    so_far[step.name] = step.type
                elif isinstance(step, Enrichment):
                    assert lookup is not None
                    self._parts.append(([*step.columns], _looked_up(step, lookup)))
                    so_far |= {name: types[name] for name in step.columns}

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch` with the new columns. Raises `FeatureError` where a step fails on one of the rows."""
        for names, made in self._parts:
            batch = pa.RecordBatch.from_arrays(
                [*batch.columns, *made(batch)], names=[*batch.schema.names, *names]
            )
        return batch

    def in_halves(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch] | Failed]:
        """Pieces of the batch with the new columns, each with the row at which it starts, and the rows on
        which a step fails: where one does, it is run on halves."""
        return self._halves(batch, 0)

    def _halves(self, batch: pa.RecordBatch, start: int) -> Iterator[tuple[int, pa.RecordBatch] | Failed]:
        if not batch.num_rows:
            return
        try:
            yield start, self.apply(batch)
        except Exception as e:
            if batch.num_rows == 1:
                yield Failed(start, f"{type(e).__name__} {e!s:.200}")
                return
            half = batch.num_rows // 2
            yield from self._halves(batch.slice(0, half), start)
            yield from self._halves(batch.slice(half), start + half)


def steps_before(view: FeatureView, declared: Declarations, expressions: Expressions) -> Steps:
    """The steps that run when an event comes."""
    before, _ = split_steps(view)
    return Steps(before, event_types(view, declared, ()), event_types(view, declared), expressions)


def check_expressions(declared: Declarations) -> None:
    """Raises `FeatureError` for the first SQL step that cannot be computed, or not always alike."""
    if not any(isinstance(step, Expression) for view in declared.views for step in view.steps):
        return
    expressions = Expressions()
    try:
        for view in declared.views:
            for at, step in enumerate(view.steps):
                if isinstance(step, Expression):
                    try:
                        expressions.query([step], event_types(view, declared, view.steps[:at]))
                    except FeatureError as e:
                        raise FeatureError(f"view {view.id}: {e}") from None
    finally:
        expressions.close()


def _one(call: FunctionCall) -> Callable[[pa.RecordBatch], list[pa.Array]]:
    return lambda batch: [call(batch)]


def _looked_up(step: Enrichment, lookup: Lookup) -> Callable[[pa.RecordBatch], list[pa.Array]]:
    return lambda batch: lookup(step, batch)
