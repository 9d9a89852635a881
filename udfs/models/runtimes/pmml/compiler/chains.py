"""Segments of which one speaks: a chain, where each reads those before, or the first that applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, either, some
from udfs.models.runtimes.pmml.compiler.elements import refuse
from udfs.models.runtimes.pmml.compiler.mining import Segment, Segmentation
from udfs.models.runtimes.pmml.compiler.outputs import OutputField, label_symbol
from udfs.models.runtimes.pmml.compiler.predicates import Truth, holds
from udfs.models.runtimes.pmml.compiler.results import (
    Ranked,
    Result,
    Scorer,
    labels_of,
    number_column,
    numbers_of,
)


def compile_chain(parts: Segmentation) -> Scorer:
    """Each segment may read the outputs of those before; the last that applies to a row is the result."""
    if parts.treatment == "skipSegment":
        refuse("a chain skips segments without a prediction, which the standard has for other methods only")
    scope = parts.place.scope
    several = parts.method == "x-multiModelChain"
    scorers: list[Scorer] = []
    outputs: dict[str, OutputField] = {}
    segments: list[Segment] = []
    for stated in parts.segments:
        # A condition may ask what an earlier segment said, so it is compiled where it stands.
        segment = parts.conditioned(stated)
        model = parts.compile(segment)
        scorer = only(model.scorer, segment.condition) if several else model.scorer
        segments.append(segment)
        scorers.append(scorer)
        for output in model.outputs:
            shown = output if segment.condition is None else _where(output, segment)
            outputs[shown.symbol.name] = shown
            scope.add(shown.symbol)
        if several and scorer.target is not None:
            declared = next((t for t in parts.place.targets if t.name == scorer.target), None)
            scope.add(label_symbol(scorer.target, scorer, declared))
    found = tuple(outputs.values())
    named = {s.name: only(scorer, s.condition) for s, scorer in zip(segments, scorers, strict=True)}
    if several:
        return _several(parts, segments, scorers, named, found)
    if all(s.condition is None for s in segments):
        last, ended = scorers[-1], Column(np.array(segments[-1].name, object))
        chain = replace(last, score=lambda batch: _and_main(batch, scorers, last), winner=lambda batch: ended)
    else:
        chain = _merged(parts, segments, scorers, first=False)
    if parts.treatment == "returnMissing":
        chain = _only(chain, lambda batch: _all_predict(batch, segments, scorers))
    return replace(chain, segments=named, inner_outputs=found)


def _predicts(result: Result, count: int) -> Mask | None:
    """The rows with a prediction; None: all."""
    if result.label is not None:
        lacking = result.label < 0
        return ~lacking if some(lacking) else None
    assert result.value is not None
    return None if result.value.missing is None else ~result.value.mask(count)


def _all_predict(batch: Batch, segments: Sequence[Segment], scorers: Sequence[Scorer]) -> Mask | None:
    """The rows in which no segment that applies is without a prediction; None: all."""
    lacking: Mask | None = None
    for segment, scorer in zip(segments, scorers, strict=True):
        applies = None if segment.condition is None else holds(segment.condition, batch)
        known = _predicts(batch.within(applies, scorer.result), batch.count)
        if known is not None:
            lacking = either(lacking, ~known if applies is None else ~known & applies)
    return None if lacking is None else ~lacking


def _where(output: OutputField, segment: Segment) -> OutputField:
    """An output that is missing in the rows to which its segment does not apply."""
    inner, condition = output.symbol, segment.condition
    assert condition is not None

    def column(batch: Batch) -> Column:
        applies = holds(condition, batch)
        made = batch.within(applies, inner.column)
        return Column(made.values, either(made.missing, ~applies))

    return replace(output, symbol=Symbol(inner.name, inner.kind, column, inner.optype, 1))


def _several(
    parts: Segmentation, segments: Sequence[Segment], scorers: Sequence[Scorer], named: dict[str, Scorer],
    outputs: tuple[OutputField, ...],
) -> Scorer:  # fmt: skip
    """A chain with a result for each target, missing where the condition of its segment is not true."""
    if parts.treatment == "returnMissing":
        refuse("a chain of several targets has no result at all where one is missing")
    by_target: dict[str, Scorer] = {}
    for segment, scorer in zip(segments, scorers, strict=True):
        if scorer.target in by_target and segment.condition is not None:
            refuse(
                f"a chain of several targets predicts {scorer.target!r} twice, and not always the same way"
            )
        if scorer.target is not None:
            by_target[scorer.target] = scorer
    wanted = [t.name for t in parts.place.targets]
    if sorted(by_target) != sorted(wanted):
        refuse("a chain of several targets does not predict each of them")
    main = by_target[wanted[0]]
    others = {name: by_target[name] for name in wanted[1:]}
    return replace(
        main, score=lambda batch: _and_main(batch, scorers, main), by_target=others, segments=named,
        inner_outputs=outputs,
    )  # fmt: skip


def _and_main(batch: Batch, scorers: Sequence[Scorer], main: Scorer) -> Result:
    """Score one after the other, so that a long chain is no deep recursion."""
    for scorer in scorers:
        scorer.result(batch)
    return main.result(batch)


def compile_select_first(parts: Segmentation) -> Scorer:
    """The first segment whose condition is true is the result; of those with a prediction, where the others
    are skipped."""
    asked = any("segmentId" in f.attrib for f in parts.place.element.iterfind("Output/OutputField"))
    if parts.treatment == "skipSegment" and (parts.threshold < 1.0 or asked):
        refuse(
            "the first segment with a prediction is selected, with a missingThreshold or outputs of segments"
        )
    models = [parts.compile(s) for s in parts.segments]
    scorers = [m.scorer for m in models]
    named = {
        s.name: _only(scorer, partial(_first, parts.segments[: k + 1]))
        for k, (s, scorer) in enumerate(zip(parts.segments, scorers, strict=True))
    }
    return replace(_merged(parts, parts.segments, scorers, first=True), segments=named)


def _first(segments: Sequence[Segment], batch: Batch) -> Mask:
    """The rows for which the last of the segments is the first that applies."""
    left = np.ones(batch.count, bool)
    for before in segments[:-1]:
        left &= False if before.condition is None else ~holds(before.condition, batch)
    last = segments[-1].condition
    return left if last is None else left & holds(last, batch)


def only(scorer: Scorer, condition: Truth | None) -> Scorer:
    """The scorer with a result only where the condition is true; None: everywhere."""
    return scorer if condition is None else _only(scorer, partial(holds, condition))


def _only(scorer: Scorer, applies: Callable[[Batch], Mask | None]) -> Scorer:
    """The scorer with a result only in the rows of `applies`, None for all."""

    def score(batch: Batch) -> Result:
        rows = applies(batch)
        result = batch.within(rows, scorer.result)
        if rows is None:
            return result
        idle = ~rows

        def hidden(values: NDArray | None) -> NDArray | None:
            return None if values is None else np.where(idle[:, None], np.nan, values)

        def ranked(of: Ranked | None) -> Ranked | None:
            def column(rank: int) -> Column:
                assert of is not None
                made = of(rank)
                return Column(made.values, either(made.missing, idle))

            return None if of is None else column

        def near(rank: int) -> NDArray:
            assert result.nearness is not None
            return np.where(idle, np.nan, result.nearness(rank))

        value, label = result.value, result.label
        return replace(
            result,
            value=None if value is None else Column(value.values, either(value.missing, idle)),
            label=None if label is None else np.where(idle, -1, label),
            probabilities=hidden(result.probabilities), confidence=hidden(result.confidence),
            affinity=hidden(result.affinity), nearness=near,
            entity=ranked(result.entity), reasons=ranked(result.reasons),
        )  # fmt: skip

    def winner(batch: Batch) -> Column:
        assert scorer.winner is not None
        rows = applies(batch)
        told = batch.within(rows, scorer.winner)
        return told if rows is None else Column(told.values, either(told.missing, ~rows))

    return replace(scorer, score=score, winner=None if scorer.winner is None else winner)


def _merged(
    parts: Segmentation, segments: Sequence[Segment], scorers: Sequence[Scorer], first: bool
) -> Scorer:
    """For each row the result of the first (or last) segment that applies to it.

    In a chain models of other functions may stand before, which others read; a row for which one of these is
    the last has no result.
    """
    functions = {s.function for s in scorers}
    if not first and parts.place.function in functions:
        functions = {parts.place.function}
    if len(functions) > 1 or not functions <= {"regression", "classification", "clustering"}:
        refuse(f"segments of the functions {', '.join(sorted(functions))} stand in for each other")

    def chosen(batch: Batch) -> list[Mask]:
        left = np.ones(batch.count, bool)
        masks: list[Mask] = []
        # In their order, so that a long chain whose conditions ask what was said before is no deep recursion.
        true = [None if s.condition is None else holds(s.condition, batch) for s in segments]
        for k in range(len(true)) if first else reversed(range(len(true))):
            condition = true[k]
            applies = left if condition is None else condition & left
            if first and parts.treatment == "skipSegment" and applies.any():
                known = _predicts(batch.within(applies, scorers[k].result), batch.count)
                applies = applies if known is None else applies & known
            masks.append(applies.copy())
            left &= ~applies
        return masks if first else masks[::-1]

    told = [s.function in functions for s in scorers]
    main = next(s for s, speaks in zip(scorers, told, strict=True) if speaks)
    names = tuple(s.name for s in segments)

    def winner(batch: Batch) -> Column:
        at = np.full(batch.count, -1)
        for k, rows in enumerate(chosen(batch)):
            if told[k]:
                at[rows] = k
        return labels_of(at, names)

    if functions == {"regression"}:
        kinds = {s.kind for s, speaks in zip(scorers, told, strict=True) if speaks}
        kind = parts.place.kind if len(kinds) > 1 else main.kind

        def score(batch: Batch) -> Result:
            out = np.full(batch.count, np.nan, kind.numpy)
            for scorer, speaks, rows in zip(scorers, told, chosen(batch), strict=True):
                if speaks and rows.any():
                    value = batch.within(rows, scorer.result).value
                    assert value is not None
                    out[rows] = numbers_of(value, batch.count)[rows]
            return Result(value=number_column(out))

        return Scorer("regression", score, kind, target=main.target, winner=winner)
    categories = parts.place.categories()
    places = [
        np.array([*categories.places(s.categories), -1] if speaks else [-1])
        for s, speaks in zip(scorers, told, strict=True)
    ]
    probable = all(s.probable for s, speaks in zip(scorers, told, strict=True) if speaks)
    width = len(categories.names)

    def classify(batch: Batch) -> Result:
        label = np.full(batch.count, -1, np.int64)
        shares = np.full((batch.count, width), np.nan)
        for scorer, speaks, place, rows in zip(scorers, told, places, chosen(batch), strict=True):
            if not speaks or not rows.any():
                continue
            result = batch.within(rows, scorer.result)
            assert result.label is not None
            label[rows] = place[result.label[rows]]
            if probable and result.probabilities is not None:
                found = np.zeros((batch.count, width))
                found[:, place[:-1]] = result.probabilities
                found[np.isnan(result.probabilities).any(axis=1)] = np.nan
                shares[rows] = found[rows]
        return Result(label=label, probabilities=shares if probable else None)

    return Scorer(main.function, classify, categories=tuple(categories.names), probable=probable,
                  target=main.target, winner=winner)  # fmt: skip
