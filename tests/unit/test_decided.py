"""Decided results: everything about a decision is readable back, in the form that all results have."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.tail import compact
from schemas.plans.plan import Majority, Prefer
from schemas.results.answers import Asked
from schemas.results.decided import (
    AnswerState,
    CandidateAnswer,
    DecidedStamp,
    Part,
    Reported,
    read_decided,
    write_decided,
)
from schemas.results.records import Outcome
from schemas.results.results import Identity, Scored, read_result
from tests.decision_cases import answer, batch, silent
from udfs.ensemble.policies import decide

STAMP = DecidedStamp('wi"ne', "careful", 7, 100, 12.34567)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
floats = st.floats(0, 1e6).map(lambda f: round(f, 3))


def identity(n: int) -> Identity:
    return Identity("t,[]", [1] * n, list(range(10, 10 + n)), [1_700_000_000_000 + k for k in range(n)])


def masks(n: int) -> st.SearchStrategy[np.ndarray]:
    return st.just(np.ones(n, bool)) | st.lists(st.booleans(), min_size=n, max_size=n).map(
        lambda found: np.array(found, dtype=bool)
    )


def columns(n: int) -> st.SearchStrategy[dict[str, np.ndarray]]:
    whole = st.lists(st.integers(-9, 9), min_size=2 * n, max_size=2 * n)
    column = st.one_of(
        whole.map(lambda v: np.array(v[:n], dtype="i4")),
        whole.map(lambda v: np.array(v, dtype="f8").reshape(n, 2) / 8),
        whole.map(lambda v: np.array([f'"{x},' for x in v[:n]] + [None], dtype=object)[:n]),
    )
    return st.dictionaries(names, column, max_size=2)


@st.composite
def reports(draw, n: int) -> list[Reported]:
    made = []
    for name in draw(st.lists(names, max_size=3, unique=True)):
        state = draw(st.sampled_from(AnswerState))
        expected = draw(masks(n))
        scores = draw(columns(n)) if state in (AnswerState.SCORED, AnswerState.LATE) else {}
        scored = draw(masks(n)) & bool(scores)
        bad = draw(st.dictionaries(st.integers(0, n - 1), names)) if n else {}
        waited, digest = draw(st.none() | floats), draw(st.sampled_from(["", "0123456789abcdef" * 4]))
        version, ms = draw(st.integers(0, 2**40)), draw(floats)
        more = (version, digest, ms, waited, draw(st.booleans()), draw(names), draw(names))
        made.append(Reported(name, state, expected, scored, scores, bad, *more))
    return made


@st.composite
def decisions(draw):
    n = draw(st.integers(0, 5))
    answers = draw(reports(n))
    split = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    parts = []
    for number in range(1, 4):  # 0: in no part
        rows = np.array([row for row in range(n) if split[row] == number], dtype=np.int64)
        if number == 1:
            parts.append(Part(rows, reason=draw(names)))
        else:
            by = draw(st.sampled_from(["", *(a.candidate for a in answers)]))
            parts.append(Part(rows, draw(columns(len(rows))), by, draw(names.filter(bool))))
    return n, answers, parts


@given(made=decisions())
@settings(max_examples=300)
def test_every_part_is_read_back(made):
    n, answers, parts = made
    raw = [b'{"k":%d}' % k for k in range(n)]
    where = {row: (part, at) for part in parts for at, row in enumerate(part.rows.tolist())}
    lines, rows = write_decided(raw, STAMP, identity(n), parts, answers)
    assert (list(range(n)) if rows is None else rows) == sorted(where)
    for line, row in zip(lines, sorted(where), strict=True):
        part, at = where[row]
        winner = next((a for a in answers if a.candidate == part.by), None)
        found = read_decided(line)
        assert found.result == read_result(line)
        assert found.result == Scored(
            'wi"ne', Outcome.SCORED if part.decided else Outcome.UNDECIDED, part.by,
            winner.version if winner else 0, winner.digest[:16] if winner else "", 12.346,
            {name: c[at].tolist() if isinstance(c[at], np.generic | np.ndarray) else c[at]
             for name, c in part.columns.items()},
            "t,[]", 1, 10 + row, 1_700_000_000_000 + row, {"k": row}, part.reason,
            winner.signer if winner else "",
        )  # fmt: skip
        assert (found.rule, found.plan, found.plan_version, found.deadline_ms) == (
            part.rule,
            "careful",
            7,
            100,
        )
        assert list(found.answers.items()) == [
            (a.candidate, told(a, row)) for a in answers if a.expected[row]
        ]


def told(a: Reported, row: int) -> CandidateAnswer:
    scored = bool(a.scored[row])
    scores = {
        n: c[row].tolist() if isinstance(c[row], np.generic | np.ndarray) else c[row]
        for n, c in a.columns.items()
    }
    known = a.version or a.digest
    return CandidateAnswer(
        AnswerState.FAILED if a.state is AnswerState.SCORED and not scored else a.state,
        a.version if known else 0,
        a.digest[:16],
        a.ms if a.waited_ms is not None else 0.0,
        a.waited_ms,
        scores if scored else {},
        a.shadow,
        "" if scored else a.bad.get(row, a.reason),
        a.signer,
    )


ANSWERS = [
    answer("smart", rows=[0, 1], q=[5.0, 6.0], p=[[0.25, 0.75], [0.5, 0.5]]),
    answer("fast", q=[4, 4, 4]),
    silent("shy"),
]


def test_a_batch_is_written_as_it_was_decided():
    asked = [Asked("shy", shadow=True), Asked("slow", (2,)), Asked("fast"), Asked("smart")]
    answers = batch(ANSWERS, 3, asked)
    decision = decide(Prefer(candidates=("smart", "fast")), answers)
    lines, rows = write_decided(
        [b"{}", b'{"a":1}', b"{}"], STAMP, identity(3), decision.parts, answers.reported(final=True)
    )
    assert rows is None
    stamps = [orjson.loads(line)["millrace"] for line in lines]
    assert [(s["model"], s["rule"], s["scores"]) for s in stamps] == [
        ("smart", "prefer", {"q": 5.0, "p": [0.25, 0.75]}),
        ("smart", "prefer", {"q": 6.0, "p": [0.5, 0.5]}),
        ("fast", "prefer", {"q": 4}),
    ]
    last = read_decided(lines[2]).answers
    assert [(name, a.outcome.value, a.reason) for name, a in last.items()] == [
        ("smart", "failed", ""), ("fast", "scored", ""), ("shy", "declined", "occupied"), ("slow", "late", "")
    ]  # fmt: skip
    assert last["shy"].shadow and "slow" not in read_decided(lines[0]).answers
    assert "scored  smart v3 abababab  q=5 p=[0.25,0.75]  12.346 ms" in compact(lines[0])


def test_what_was_not_waited_for_is_not_late():
    answers = batch(ANSWERS[:1], 2, ["smart", "other"])
    assert [r.state for r in answers.reported(final=False)] == [AnswerState.SCORED, AnswerState.PENDING]


def test_a_late_answer_is_reported_and_does_not_decide():
    answers = batch([ANSWERS[1]], 3, ["fast", "smart"])
    assert answers.add(ANSWERS[0], late=True)
    (part,) = decide(Prefer(candidates=("smart", "fast")), answers).parts
    assert part.by == "fast"
    (line, *_), _ = write_decided([b"{}"] * 3, STAMP, identity(3), [part], answers.reported(final=True))
    late = read_decided(line).answers["smart"]
    assert (late.outcome, late.scores["q"]) == (AnswerState.LATE, 5.0)


def test_an_undecided_record_says_why():
    answers = batch(ANSWERS, 3)
    decision = decide(Majority(output="q"), answers)
    lines, _ = write_decided([b"{}"] * 3, STAMP, identity(3), decision.parts, answers.reported(final=True))
    found = read_decided(lines[0]).result
    assert (found.outcome, found.scores, found.model) == (Outcome.UNDECIDED, {}, "")
    assert found.reason == "majority: fewer than 3 answers with 'q' in time"


def test_what_does_not_fit_is_refused():
    one = Part(np.array([0]), {"q": np.zeros(1)}, "", "mean")
    with pytest.raises(ValueError, match="two parts"):
        write_decided([b"{}"], STAMP, identity(1), [one, one], [])
    with pytest.raises(ValueError, match="'q' has 1 rows for 2"):
        write_decided(
            [b"{}"] * 2, STAMP, identity(2), [Part(np.arange(2), {"q": np.zeros(1)}, "", "mean")], []
        )
    with pytest.raises(ValueError, match="JSON object"):
        write_decided([b"1"], STAMP, identity(1), [one], [])
    lines, rows = write_decided([b"not a record", b"{}"], STAMP, identity(2), [Part(np.array([1]))], [])
    assert (len(lines), rows) == (1, [1])


@pytest.mark.parametrize("answers", [b"", b',"answers":[]', b',"answers":{"a":1}', b',"answers":{"a":{}}'])
def test_what_is_no_decided_result_is_refused(answers: bytes):
    (line,), _ = write_decided([b"{}"], STAMP, identity(1), [Part(np.array([0]))], [])
    line = line.replace(b',"answers":{}', answers)
    assert read_result(line)
    with pytest.raises(ValueError, match=r".+"):
        read_decided(line)
