"""Model executor: every request is answered once by every candidate asked, whatever its model does."""

from __future__ import annotations

import pytest

from schemas.errors import ProcessEndedError
from schemas.results.answers import AnswerOutcome, Reason, from_columns
from tests.executor_fakes import WAIT, Bench, Loader
from udfs.ensemble.execution.job import decode_pending, encode_pending
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel

SCORED, DECLINED, FAILED = AnswerOutcome.SCORED, AnswerOutcome.DECLINED, AnswerOutcome.FAILED


@pytest.fixture
def make():
    benches: list[Bench] = []

    def bench(*args, **more) -> Bench:
        benches.append(Bench(*args, **more))
        return benches[-1]

    yield bench
    for made in benches:
        made.close()


def outcomes(answers) -> dict[str, tuple[AnswerOutcome, str]]:
    return {a.candidate: (a.outcome, a.reason) for a in answers}


def test_candidates_answer_for_themselves_with_their_own_stamp(make):
    bench = make(patience_ms=WAIT * 1000)
    bench.serve("a", "b")
    answers = bench.now("a", "b", numbers=[1, 2, 3], ms=WAIT * 1000)
    assert [(a.candidate, a.outcome, a.version, a.rows, a.bad) for a in answers] == [
        (name, SCORED, 1, None, {}) for name in sorted("ab", key=[a.candidate for a in answers].index)
    ]
    for answer in answers:
        assert from_columns(answer.columns)["y"].tolist() == [3, 5, 7]
        assert answer.batch_id == "b1" and len(answer.digest) == 64
    assert bench.executor.pending("0/t") == [] and bench.executor.look_again_ms("0/t") is None


def test_only_the_records_asked_about_are_scored_and_numbered_as_in_the_batch(make):
    bench = make()
    bench.serve("a")
    bench.ask("a", numbers=[1, b"no json", 13, 17, 5, 6], rows=(1, 2, 3, 5))
    (answer,) = bench.answers()
    assert (answer.outcome, answer.rows) == (SCORED, (5,))
    assert from_columns(answer.columns)["y"].tolist() == [13]
    assert list(answer.bad) == [1, 2, 3] and answer.unfit == {1: "unparsable"}
    assert "not finite" in answer.bad[3] and "cannot score 13" in answer.bad[2]


def test_a_batch_above_the_bound_is_scored_in_parts(make):
    bench = make()
    bench.serve("a")
    bench.ask("a", numbers=[*range(100, 170), b"", 13, *range(170, 200)], ms=1000)
    (answer,) = bench.answers()
    assert max(bench.loader.of("a")[0].batches) <= 64
    assert list(answer.bad) == [70, 71] and list(answer.unfit) == [70]
    expected = [2 * n + 1 for n in range(100, 200)]
    assert from_columns(answer.columns)["y"].tolist() == expected
    assert answer.rows == (*range(70), *range(72, 102))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"raising", "KeyError"),
        (b"leaving", "SystemExit"),
        (b"misshapen", "has the shape (4, 3)"),
        (b"nameless", "did not answer with its output 'y'"),
    ],
)
def test_a_candidate_that_misbehaves_fails_and_disturbs_nobody(make, content: bytes, reason: str):
    bench = make()
    bench.serve("good")
    bench.serve("bad", content=content)
    for _ in range(2):
        bench.ask("bad", "good", numbers=[1, 2, 3, 4])
        got = {a.candidate: a for a in bench.answers(2)}
        assert got["good"].outcome is SCORED
        assert got["bad"].outcome is FAILED and reason in got["bad"].reason and got["bad"].version == 1
    runtime = bench.loader.of("bad")[0]
    assert runtime.batches in ([], [4, 4]), "where no record is at fault, halving is no use"


@pytest.mark.parametrize("numbers", [[13, 13], [17], [b"no json"], [b"{}", 13]])
def test_where_no_record_could_be_scored_the_candidate_failed(make, numbers):
    bench = make()
    bench.serve("a")
    bench.ask("a", numbers=numbers)
    (answer,) = bench.answers()
    assert answer.outcome is FAILED and answer.reason and list(answer.bad) == list(range(len(numbers)))


def test_halving_is_bounded(make):
    bench = make()
    bench.serve("a")
    bench.ask("a", numbers=[13] * 640)
    (answer,) = bench.answers()
    assert len(answer.bad) == 640
    assert len(bench.loader.of("a")[0].batches) < 300


def test_who_is_not_there_declines(make):
    bench = make()
    bench.serve("a")
    bench.publish("b", content=b"bad")
    bench.until(lambda: "refused b 1" in bench.told)
    assert outcomes(bench.now("b", "c")) == dict.fromkeys("bc", (DECLINED, Reason.NO_MODEL))
    bench.unpublish("a")
    assert outcomes(bench.now("a")) == {"a": (DECLINED, Reason.NO_MODEL)}
    assert bench.loader.of("a")[0].closed == 1


def test_a_request_that_comes_late_is_declined(make):
    bench = make()
    bench.serve("a")
    (answer,) = bench.now("a", ms=0)
    assert (answer.outcome, answer.reason) == (DECLINED, Reason.LATE_ON_ARRIVAL)


def test_a_stuck_candidate_delays_nobody_and_its_late_answer_still_counts(make):
    bench = make()
    bench.serve("a", "b")
    runtime = bench.stick("a")
    bench.ask("a", "b")
    got = bench.answers(1)
    assert outcomes(got) == {"b": (SCORED, "")}
    bench.hands.now += 100
    assert outcomes(bench.answers(1)) == {"a": (DECLINED, Reason.LATE_IN_QUEUE)}
    assert outcomes(bench.now("a")) == {"a": (DECLINED, Reason.OCCUPIED)}
    assert [p.batch_id for p in bench.executor.pending("0/t")] == ["b1"]
    runtime.go.release()
    (late,) = bench.answers()
    assert (late.outcome, late.batch_id, late.waited_ms) == (SCORED, "b1", 100)


def test_a_call_beyond_its_timeout_is_abandoned_and_a_fresh_instance_takes_over(make):
    bench = make()
    bench.serve("a")
    stuck = bench.stick("a")
    bench.hands.now += 501
    (answer,) = bench.answers()
    assert (answer.outcome, answer.reason, answer.batch_id) == (FAILED, Reason.ABANDONED, "b1")
    bench.until(lambda: bench.told[-1] == "served a 1" and len(bench.told) == 3)
    assert bench.told == ["served a 1", "fenced a 1", "served a 1"]
    bench.ask("a", numbers=[4])
    assert outcomes(bench.answers()) == {"a": (SCORED, "")}
    (stats,) = bench.executor.stats()
    assert (stats.usage, stats.failures, stats.fenced, stats.stuck) == (2, 1, 1, 1)
    assert stuck.closed == 0
    stuck.go.release()
    bench.until(lambda: stuck.closed == 1)
    assert bench.executor.take("0/t") == []
    (stats,) = bench.executor.stats()
    assert (stats.fenced, stats.stuck) == (1, 0)


def test_a_call_within_its_deadline_is_not_abandoned(make):
    bench = make()
    bench.serve("a")
    runtime = bench.stick("a", ms=10_000)
    bench.hands.now += 9_000
    bench.poll()
    assert bench.told == ["served a 1"]
    runtime.go.release()
    assert outcomes(bench.answers()) == {"a": (SCORED, "")}


def test_abandoned_threads_are_bounded_until_one_returns(make):
    bench = make(max_abandoned=2)
    bench.serve("a")
    stuck = []
    for turn in range(3):
        stuck.append(bench.stick("a"))
        bench.hands.now += 501
        assert bench.answers()[0].reason == Reason.ABANDONED
        if turn < 2:
            bench.until(lambda turn=turn: bench.told.count("served a 1") == turn + 2)
    assert outcomes(bench.now("a")) == {"a": (DECLINED, Reason.TOO_MANY_ABANDONED)}
    assert len(bench.loader.of("a")) == 3 and bench.told.count("fenced a 1") == 2
    stuck[0].go.release()
    bench.until(lambda: bench.told.count("served a 1") == 4)
    assert bench.told.count("fenced a 1") == 3 and stuck[0].closed == 1
    bench.ask("a")
    assert outcomes(bench.answers()) == {"a": (SCORED, "")}
    for runtime in stuck[1:]:
        runtime.go.release()
    bench.until(lambda: all(runtime.closed == 1 for runtime in stuck))
    assert bench.executor.take("0/t") == []


def test_where_the_thread_at_the_bound_returns_first_it_goes_on(make):
    bench = make(max_abandoned=0)
    bench.serve("a")
    runtime = bench.stick("a")
    bench.hands.now += 501
    assert bench.answers()[0].reason == Reason.ABANDONED
    assert outcomes(bench.now("a")) == {"a": (DECLINED, Reason.TOO_MANY_ABANDONED)}
    runtime.go.release()
    bench.until(lambda: not runtime.inside)
    bench.until(lambda: outcomes(bench.tried("a"))["a"][0] is SCORED)
    assert bench.loader.of("a") == [runtime] and runtime.closed == 0


def test_a_swap_in_flight_closes_the_old_model_when_its_call_has_ended(make):
    bench = make()
    bench.serve("a")
    old = bench.stick("a", ms=60_000)
    bench.publish("a", 2)
    bench.until(lambda: "served a 2" in bench.told)
    assert old.closed == 0
    old.go.release()
    (answer,) = bench.answers()
    assert (answer.outcome, answer.version) == (SCORED, 1)
    bench.until(lambda: old.closed == 1)
    bench.ask("a")
    assert bench.answers()[0].version == 2


def test_a_swap_frees_a_candidate_from_a_stuck_call_without_another_load(make):
    bench = make()
    bench.serve("a")
    old = bench.stick("a")
    bench.publish("a", 2)
    bench.until(lambda: "served a 2" in bench.told)
    bench.hands.now += 501
    assert bench.answers()[0].reason == Reason.ABANDONED
    bench.ask("a")
    assert bench.answers()[0].version == 2
    assert len(bench.loader.of("a")) == 2
    old.go.release()
    bench.until(lambda: old.closed == 1)


def test_unpublishing_in_flight(make):
    bench = make()
    bench.serve("a")
    runtime = bench.stick("a", ms=60_000)
    bench.ask("a", ms=60_000)
    bench.unpublish("a")
    (waiting,) = bench.answers()
    assert (waiting.batch_id, waiting.outcome, waiting.reason) == ("b2", DECLINED, Reason.NO_MODEL)
    assert runtime.closed == 0
    runtime.go.release()
    (answer,) = bench.answers()
    assert (answer.batch_id, answer.outcome) == ("b1", SCORED)
    bench.until(lambda: runtime.closed == 1)
    bench.serve("a")


def test_other_model_types_and_plans_are_others_business(make):
    bench = make()
    bench.publish("x", 1, model_type="TENSORFLOW")
    bench.poll()
    assert bench.told == [] and outcomes(bench.now("x")) == {"x": (DECLINED, Reason.NO_MODEL)}
    assert bench.loader.made == [] and bench.executor.revision("t") == 1  # a name more is counted


def test_a_candidate_that_goes_on_as_another_type_leaves(make):
    bench = make()
    bench.serve("a")
    bench.publish("a", 1, b"other", model_type="TENSORFLOW")
    assert bench.told == ["served a 1"], "not a newer version"
    bench.publish("a", 2, model_type="TENSORFLOW")
    assert bench.told == ["served a 1", "withdrawn a 1"]
    assert outcomes(bench.now("a")) == {"a": (DECLINED, Reason.NO_MODEL)}


def test_what_was_pending_is_declined_after_a_restart(make):
    bench = make()
    bench.serve("a")
    bench.stick("a")
    bench.ask("a", key="1/t")
    stored = encode_pending(bench.executor.pending("0/t"))
    again = make(bench.executor.log("t"), loader=Loader())
    answers = again.executor.restarted(decode_pending(stored))
    assert [(a.batch_id, a.data_type, a.candidate, a.outcome, a.reason) for a in answers] == [
        ("b1", "t", "a", DECLINED, "restarted")
    ]
    assert [p.batch_id for p in bench.executor.pending("1/t")] == ["b2"]


def test_what_scored_before_a_restart_scores_the_first_request_after_it(make):
    bench = make()
    bench.serve("a", "b")
    again = make(bench.executor.log("t"), patience_ms=WAIT * 1000)
    assert {"served a 1", "served b 1"} <= set(again.told)
    assert outcomes(again.now("a", "b", ms=WAIT * 1000)) == {"a": (SCORED, ""), "b": (SCORED, "")}


class Ending(Loader):
    """Of whose models version 2 ends the process, once it is told to."""

    ends = False

    def __call__(self, published: Publication) -> LoadedModel:
        if self.ends and published.version == 2:
            raise ProcessEndedError("it was ended by SIGSEGV")
        return super().__call__(published)


def test_what_scored_and_ends_the_process_that_loads_it_again_makes_way(make):
    bench = make(loader=(loader := Ending()))
    bench.serve("a")
    bench.publish("a", 2)
    bench.until(lambda: "served a 2" in bench.told)
    stored, loader.ends = bench.executor.log("t"), True
    again = make(stored, loader=loader)
    assert "quarantined a 2" not in again.told, "one attempt does not tell"
    again.hands.now += 10_000
    again.until(lambda: "served a 1" in again.told)
    assert "quarantined a 2" in again.told and again.executor.log("t") != stored
    again.ask("a")
    (answer,) = again.answers()
    assert (answer.outcome, answer.version) == (SCORED, 1)


def test_a_candidate_that_cannot_be_loaded_again_declines_until_it_can(make):
    bench = make()
    bench.serve("a", "b")
    bench.unpublish("b")
    stored = bench.executor.log("t")
    broken = Loader(broken=True)
    again = make(stored, loader=broken)
    again.until(lambda: "refused a 1" in again.told)
    assert outcomes(again.now("a", "b")) == {
        "a": (DECLINED, Reason.LOADING), "b": (DECLINED, Reason.NO_MODEL)
    }  # fmt: skip
    assert again.executor.log("t") == stored
    broken.broken = False
    again.hands.now += 10_000
    again.until(lambda: "served a 1" in again.told)
    again.ask("a")
    assert outcomes(again.answers()) == {"a": (SCORED, "")}


def test_the_end_of_the_input_waits_for_answers(make):
    bench = make()
    bench.serve("a", "b")
    runtime = bench.stick("a", ms=WAIT * 1000)
    bench.ask("b", ms=WAIT * 1000)
    runtime.go.release()
    got = bench.ready.pop("0/t") + bench.executor.end("0/t")
    assert sorted(a.candidate for a in got if a.outcome is SCORED) == ["a", "b"]
    assert bench.executor.end("0/t") == []


def test_the_end_of_the_input_does_not_wait_beyond_deadlines(make):
    bench = make()
    bench.serve("a")
    runtime = bench.stick("a")
    bench.hands.now += 200
    assert outcomes(bench.executor.end("0/t")) == {"a": (DECLINED, Reason.ENDED)}
    runtime.go.release()
    bench.executor.close()
    assert bench.executor.take("0/t") == []


def test_answers_stay_with_their_key(make):
    bench = make()
    bench.serve("a")
    bench.ask("a", key="0/t")
    assert len(bench.answers(key="0/t")) == 1 and bench.executor.take("1/t") == []
