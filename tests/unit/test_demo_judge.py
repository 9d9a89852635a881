"""The demo's judge: each way in which an output can be wrong is found, and a right one passes."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from demo.feed import Feed, Sent
from demo.judge import MISPLACED, Prediction, judge, same
from demo.plan import DataSet
from demo.verdict import DOUBLED, LOST, MIS_STAMPED, Verdict
from demo.watch import Result, raw_of
from schemas.results.records import DeadLetter, Outcome

DIGESTS = {1: "1" * 64, 2: "2" * 64}


def scores(version: int, row: int) -> dict[str, list[float]]:
    return {"probability": [0.1 * version + 0.01 * row, 0.5]}


PREDICTIONS = {
    ("wine", version): Prediction(digest, [scores(version, row) for row in range(3)])
    for version, digest in DIGESTS.items()
}


@pytest.fixture
def sent(tmp_path) -> Sent:
    data = DataSet("wine", ("a", "b"), ("x", "y"), ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)), ("x", "y", "x"))
    feed = Feed(tmp_path, [data], seed=0)
    feed.write(1000)
    assert feed.sent["wine"].spoiled
    return feed.sent["wine"]


def result(sent: Sent, line: int, version: int = 1) -> Result:
    made = scores(version, sent.rows[line])
    return Result(sent.source, line, "wine", version, DIGESTS[version][:16], Outcome.SCORED, made, 0, 1.0)


def letter(sent: Sent, line: int, raw: bytes) -> DeadLetter:
    text = base64.b64encode(raw).decode()
    return DeadLetter("wine", sent.source, 0, line, 0, "unparsable", "?", text, len(raw))


def outputs(sent: Sent) -> tuple[list[Result], list[DeadLetter]]:
    """What a job writes that changes to the second version half-way."""
    good = [n for n, row in enumerate(sent.rows) if row >= 0]
    results = [result(sent, n, 1 if n < len(sent.rows) // 2 else 2) for n in good]
    return results, [letter(sent, n, raw) for n, raw in sent.spoiled.items()]


def verdict_of(sent: Sent, results: list[Result], dead: list[DeadLetter]) -> Verdict:
    return judge([sent], results, dead, PREDICTIONS)


def test_what_is_right_passes(sent: Sent) -> None:
    results, dead = outputs(sent)
    verdict = verdict_of(sent, results, dead)
    assert verdict.good
    assert (verdict.records, verdict.scored) == (1000, len(results))
    assert verdict.told_apart == verdict.scored


def test_a_lost_record_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    gone = results.pop(7)
    verdict = verdict_of(sent, results, dead)
    assert (verdict.faults[LOST], verdict.faults[DOUBLED], verdict.good) == (1, 0, False)
    assert f"line {gone.line} never came out" in verdict.examples[0]


def test_a_lost_dead_letter_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    assert verdict_of(sent, results, dead[1:]).faults[LOST] == 1


def test_a_doubled_record_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    verdict = verdict_of(sent, [*results, results[7]], dead)
    assert (verdict.faults[LOST], verdict.faults[DOUBLED], verdict.good) == (0, 1, False)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_spoiled_record_may_come_out_where_no_model_has_read_it(sent: Sent, outcome: Outcome) -> None:
    results, dead = outputs(sent)
    results.append(result(sent, next(iter(sent.spoiled)))._replace(outcome=outcome))
    verdict = verdict_of(sent, results, dead[1:])
    unread = outcome in (Outcome.UNDECIDED, Outcome.NO_MODEL)
    assert (verdict.good, verdict.faults[MISPLACED], verdict.unscored) == (unread, 1 - unread, int(unread))


def test_a_record_both_scored_and_dead_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    verdict = verdict_of(sent, [*results, result(sent, 0)], [*dead, letter(sent, 0, b"{}")])
    assert verdict.faults[DOUBLED] == 1 and verdict.faults[MISPLACED] == 1


def test_the_stamp_of_another_version_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    results[7] = results[7]._replace(version=2, digest=DIGESTS[2][:16])
    verdict = verdict_of(sent, results, dead)
    assert (verdict.faults[MIS_STAMPED], verdict.good) == (1, False)
    assert "that version gives" in verdict.examples[0]


@pytest.mark.parametrize(
    "change", [{"digest": DIGESTS[2][:16]}, {"version": 3}, {"data_type": "cancer"}], ids=str
)
def test_a_stamp_that_fits_no_published_version_is_found(sent: Sent, change: dict) -> None:
    results, dead = outputs(sent)
    results[7] = results[7]._replace(**change)
    assert verdict_of(sent, results, dead).faults[MIS_STAMPED] == 1


def test_a_good_record_among_the_dead_letters_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    gone = results.pop(0)
    verdict = verdict_of(sent, results, [*dead, letter(sent, gone.line, b"{}")])
    assert (verdict.faults[MISPLACED], verdict.faults[LOST], verdict.good) == (1, 0, False)


def test_a_dead_letter_with_other_bytes_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    dead[0] = replace(dead[0], raw=base64.b64encode(raw_of(dead[0]) + b" ").decode())
    assert verdict_of(sent, results, dead).faults[MISPLACED] == 1


def test_a_record_that_was_never_written_is_found(sent: Sent) -> None:
    results, dead = outputs(sent)
    verdict = verdict_of(sent, [*results, result(sent, 0)._replace(line=1000)], dead)
    assert (verdict.faults[MISPLACED], verdict.good) == (1, False)


def test_versions_with_equal_scores_are_not_told_apart(sent: Sent) -> None:
    results, dead = outputs(sent)
    twins = {**PREDICTIONS, ("wine", 3): PREDICTIONS[("wine", 1)]}
    verdict = judge([sent], results, dead, twins)
    assert verdict.good
    assert verdict.told_apart == sum(r.version == 2 for r in results)


def test_same_allows_for_rounding_only() -> None:
    assert same({"p": [0.25, 1]}, {"p": [0.25001, 1.0]})
    assert not same({"p": [0.25, 1]}, {"p": [0.2502, 1.0]})
    assert not same({"p": [0.25]}, {"p": [0.25, 1.0]})
    assert not same({"p": 0.25}, {"q": 0.25})
    assert not same({"kind": "x"}, {"kind": "y"})
