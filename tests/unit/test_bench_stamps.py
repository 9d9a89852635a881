"""The benchmark reads stamps by their marks: it must find what the parser finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.race import CANDIDATES
from bench.stamps import Stamps
from bench.workload import record, rests
from schemas.results.decided import AnswerState, DecidedStamp, Part, Reported, read_decided, write_decided
from schemas.results.results import Identity

COUNT = 3
REST = rests()[0]


def answer(name: str, state: AnswerState) -> Reported:
    scored = np.full(COUNT, state in (AnswerState.SCORED, AnswerState.LATE))
    columns = {"score": np.linspace(0, 1, COUNT)} if scored.all() else {}
    waited = None if state is AnswerState.PENDING else 1.5
    return Reported(name, state, np.full(COUNT, True), scored, columns, version=1, waited_ms=waited)


@given(st.lists(st.sampled_from(AnswerState), min_size=3, max_size=3), st.floats(0, 1e4), st.booleans())
def test_as_the_parser_says(states: list[AnswerState], ms: float, decided: bool) -> None:
    answers = [answer(name, state) for name, state in zip(CANDIDATES, states, strict=True)]
    part = (
        Part(np.arange(COUNT), {"score": np.ones(COUNT)}, rule="mean") if decided else Part(np.arange(COUNT))
    )
    lines, _ = write_decided(
        [record(REST, number, 17) for number in range(COUNT)],
        DecidedStamp("wine", "plan", 1, 100, ms),
        Identity("records", [0] * COUNT, [1, 2, 3], [4, 5, 6]),
        [part],
        answers,
    )
    stamps = Stamps(COUNT)
    for number, line in enumerate(lines):
        stamps.look(number, line)
    parsed = [read_decided(line) for line in lines]
    by = sum(a.outcome is AnswerState.SCORED for a in parsed[0].answers.values())
    numbers = np.arange(COUNT)
    assert stamps.share(numbers) == {str(n): float(n == by) for n in range(len(CANDIDATES) + 1)}
    assert stamps.decided_after(parsed[0].result.ms + 0.01, numbers) == 0
    assert stamps.decided_after(parsed[0].result.ms - 0.01, numbers) == COUNT
