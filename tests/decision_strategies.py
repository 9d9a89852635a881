"""Policies, plans and batches of answers, drawn by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from schemas.plans.plan import (
    Agreement,
    BestConfidence,
    BestQuality,
    Fallback,
    First,
    Majority,
    MeanAnswer,
    MedianAnswer,
    Policy,
    Prefer,
)
from schemas.results.answers import Answer, AnswerOutcome, Asked, to_columns
from tests.decision_cases import column

NAMES = ("a", "b", "c", "d")
small = st.integers(0, 2)
names = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)
least = st.integers(1, 4)
links: st.SearchStrategy[Policy] = st.one_of(
    st.builds(First),
    st.builds(Prefer, candidates=names),
    st.builds(
        Majority,
        output=st.just("y"),
        least=least,
        tie=st.sampled_from(["first", "lowest", "highest", "undecided"]),
        within=st.sampled_from([0.0, 0.5, 0.6667, 1.0]),
    ),
    st.builds(Majority, output=st.just("y"), least=least, tie=st.just("confidence"), confidence=st.just("p")),
    st.builds(
        MeanAnswer,
        output=st.just("y"),
        least=least,
        weights=st.just({}) | st.dictionaries(st.sampled_from(NAMES), st.floats(0.1, 9), min_size=1),
    ),
    st.builds(MedianAnswer, output=st.just("y"), least=least),
    st.builds(BestConfidence, confidence=st.just("p")),
    st.builds(BestQuality, metric=st.just("m"), better=st.sampled_from(["higher", "lower"])),
    st.builds(
        Agreement,
        output=st.just("y"),
        tolerance=st.sampled_from([0.0, 1.0]),
        least=st.integers(2, 3),
        conservative=st.sampled_from(["lowest", "highest", "undecided"]),
    ),
    st.builds(Fallback, value=st.just({"y": 9.0, "v": [1, 2]})),
)


def chained(found: list[Policy]) -> Policy:
    policy: Policy | None = None
    for link in reversed(found):
        fields = {name: getattr(link, name) for name in link.__struct_fields__}
        policy = type(link)(**{**fields, "otherwise": policy})
    assert policy is not None
    return policy


policies = st.lists(links, min_size=1, max_size=3).map(chained)


@st.composite
def values(draw, n: int) -> np.ndarray:
    kind = draw(st.sampled_from(["int", "float", "float", "vector", "text"]))
    cells = draw(st.lists(small, min_size=2 * n, max_size=2 * n))
    if kind == "text":
        return column([str(c) for c in cells[:n]])
    if kind == "vector":
        return np.array(cells, dtype="f4").reshape(n, 2)
    return np.array(cells[:n], dtype="i8" if kind == "int" else "f8")


@st.composite
def one_answer(draw, name: str, n: int) -> Answer:
    outcome = draw(
        st.sampled_from([AnswerOutcome.SCORED] * 4 + [AnswerOutcome.DECLINED, AnswerOutcome.FAILED])
    )
    if outcome is not AnswerOutcome.SCORED:
        return Answer("id", "t", name, outcome)
    rows = draw(st.none() | st.sets(st.integers(0, n - 1)).map(sorted).map(tuple))
    wide = n if rows is None else len(rows)
    columns = {o: draw(values(wide)) for o in ("y", "p") if draw(st.integers(0, 4))}
    return Answer("id", "t", name, outcome, rows=rows, columns=to_columns(columns))


@st.composite
def batches(draw) -> tuple[list[Asked], int, list[Answer], dict]:
    n = draw(st.integers(1, 4))
    asked = [
        Asked(
            name,
            draw(st.none() | st.sets(st.integers(0, n - 1)).map(sorted).map(tuple)),
            draw(st.sampled_from([False, False, False, True])),
        )
        for name in NAMES[: draw(st.integers(1, 4))]
    ]
    answers = [draw(one_answer(a.candidate, n)) for a in asked]
    metrics = draw(st.dictionaries(st.sampled_from(NAMES), st.fixed_dictionaries({"m": small})))
    return asked, n, answers, metrics
