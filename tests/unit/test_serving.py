"""The state machine of a scoring operator: models come, fail, replace each other and go, records go on."""

from __future__ import annotations

import pytest

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import LoadError
from schemas.results.records import DeadLetter, EventKind, ModelEvent, ModelToServeStats, Outcome
from schemas.results.results import Scored, read_result
from tests.serving_fakes import Doubling, Loads, batch_of, loaded_model
from udfs.models.code_version import code_version
from udfs.models.descriptor import DECIDE, WITHDRAW, Publication, build, parse
from udfs.models.loaded_model import LoadedModel
from udfs.serving.output import Results
from udfs.serving.serving import Serving


class Harness:
    """A `Serving` of the data type `t`, and short words for what it is told and answers."""

    def __init__(
        self, stored: bytes | None = None, loads: Loads | None = None, max_batch: int = 1024
    ) -> None:
        self.loads = loads or Loads()
        self.serving = Serving(self.loads, JsonCodec(), raw_json=True, max_batch=max_batch, subtask=3)
        self.restored = kinds(self.serving.restore("t", stored))

    def publish(self, version: int, content: bytes = b"", name: str = "n", **more) -> list[str]:
        data = content or b"content %d" % version
        descriptor = build(data_type="t", name=name, version=version, data=data, **more)
        return kinds(self.serving.publish(descriptor, parse(descriptor)))

    def unpublish(self, name: str = "") -> list[str]:
        descriptor = build(data_type="t", name=name, operation=WITHDRAW)
        return kinds(self.serving.publish(descriptor, parse(descriptor)))

    def settle(self) -> list[str]:
        return kinds(self.serving.settle())

    def score(self, *numbers: float) -> list[Scored]:
        """Results of records, each checked to carry the stamp of the model that made its score."""
        sent = list(self.serving.score(batch_of([b'{"a":%f}' % n for n in numbers])))
        results = [read_result(line) for run in sent for line in run.lines]
        for result, number in zip(results, numbers, strict=True):
            assert result.record == {"a": number}
            assert result.scores["y"] == 2 * number + result.version
        return results


def kinds(sent) -> list[str]:
    return [f"{e.kind} {e.version}" if isinstance(e, ModelEvent) else f"stats {e.version}" for e in sent]


@pytest.fixture
def make():
    stands = []

    def harness(*args, **more) -> Harness:
        stands.append(Harness(*args, **more))
        return stands[-1]

    yield harness
    for made in stands:
        made.loads.let_go.set()
        made.serving.close()


def test_a_model_serves_once_it_is_loaded(make):
    harness = make()
    assert harness.restored == [] and not harness.serving.serves("t")
    assert harness.publish(1) == []
    assert harness.settle() == ["served 1"]
    assert harness.serving.serves("t")
    assert [r.version for r in harness.score(1, 2)] == [1, 1]


def test_notes_on_a_model_are_in_its_event():
    def load(publication: Publication) -> LoadedModel:
        model = loaded_model(Doubling(), publication.name, publication.version)
        model.load_report.notes += ["pypmml agrees on 64 rows (y)", "and more"]
        return model

    serving = Serving(load, JsonCodec(), raw_json=True, max_batch=8, subtask=0)
    descriptor = build(data_type="t", name="n", version=1, data=b"content")
    serving.restore("t", None)
    serving.publish(descriptor, parse(descriptor))
    (event,) = serving.settle()
    assert (event.kind, event.reason) == (EventKind.SERVED, "pypmml agrees on 64 rows (y); and more")
    serving.close()


def test_what_serves_is_told_with_the_code_of_the_job(make):
    harness = make()
    harness.publish(1)
    (served,) = harness.serving.settle()
    assert (served.kind, served.code) == (EventKind.SERVED, code_version()) and len(served.code) == 12
    harness.publish(2, b"bad")
    (refused,) = harness.serving.settle()
    assert (refused.kind, refused.code) == (EventKind.REFUSED, "")


def test_a_slow_load_does_not_stop_scoring(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(2, b"slow")
    assert harness.loads.started.wait(30)
    assert harness.serving.poll() == []
    assert [r.version for r in harness.score(1, 2)] == [1, 1]
    harness.loads.let_go.set()
    assert harness.settle() == ["stats 1", "served 2"]
    assert [r.version for r in harness.score(1)] == [2]
    assert harness.loads.runtimes["n", 1].closed == 1


@pytest.mark.parametrize("content", [b"bad", b"odd"])
def test_a_failing_load_changes_nothing_and_says_why(make, content: bytes):
    harness = make()
    harness.publish(1)
    harness.settle()
    before = harness.serving.log("t")
    harness.publish(2, content)
    (event,) = harness.serving.settle()
    assert (event.kind, event.name, event.version, event.step) == (EventKind.REFUSED, "n", 2, "load")
    assert event.reason and event.subtask == 3 and event.data_type == "t"
    assert harness.serving.log("t") == before
    assert [r.version for r in harness.score(1)] == [1]
    assert harness.publish(2, b"mended") == [] and harness.settle() == ["stats 1", "served 2"]


def test_a_failed_forced_reload_survives_a_restart(make):
    harness = make()
    loads = harness.loads
    harness.publish(1, b"x", force=True)
    harness.settle()
    loads.runtimes.clear()
    loads.__class__ = type("Broken", (Loads,), {"__call__": broken})
    harness.publish(1, b"x", force=True)
    assert harness.settle() == ["refused 1"]
    assert make(harness.serving.log("t")).restored == ["served 1"]


def broken(self, published):
    raise LoadError("the store is out of reach")


def test_only_the_newest_of_those_that_wait_is_loaded(make):
    harness = make()
    harness.publish(1, b"slow")
    assert [harness.publish(v) for v in (2, 3, 4)] == [[], [], []]
    harness.loads.let_go.set()
    assert harness.settle() == ["served 1", "stats 1", "superseded 2", "superseded 3", "served 4"]
    assert harness.loads.calls == [("n", 1), ("n", 4)]


def test_when_the_newest_fails_the_one_before_is_tried(make):
    harness = make()
    harness.publish(1, b"slow bad")
    harness.publish(2)
    harness.publish(3, b"bad")
    harness.loads.let_go.set()
    assert harness.settle() == ["refused 1", "refused 3", "served 2"]


def test_repeats_and_stale_versions_are_told_apart(make):
    harness = make()
    harness.publish(2)
    harness.settle()
    assert harness.publish(2) == ["already_served 2"]
    assert harness.publish(1) == ["refused 1"]
    assert harness.publish(2, b"other") == ["refused 2"]
    assert harness.loads.calls == [("n", 2)]
    harness.publish(1, force=True)
    assert harness.settle() == ["stats 2", "served 1"]


def test_unpublishing_ends_serving_and_lets_the_model_be_published_again(make):
    harness = make()
    harness.publish(2)
    harness.settle()
    assert harness.unpublish("other") == []
    assert harness.serving.serves("t")
    assert harness.unpublish("n") == ["stats 2", "withdrawn 2"]
    assert not harness.serving.serves("t")
    assert harness.loads.runtimes["n", 2].closed == 1
    assert make(harness.serving.log("t")).restored == []
    harness.publish(2)
    assert harness.settle() == ["served 2"]


@pytest.mark.parametrize("content", [b"slow", b"slow bad"])
def test_a_model_unpublished_while_it_loads_never_serves(make, content: bytes):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(1, content, name="m")
    assert harness.unpublish("m") == ["withdrawn 1"]
    harness.loads.let_go.set()
    assert harness.settle() == []
    assert [r.model for r in harness.score(1)] == ["n"]
    assert all(r.closed for (name, _), r in harness.loads.runtimes.items() if name == "m")


def test_a_model_unpublished_and_published_again_while_it_loads_is_loaded_once(make):
    harness = make()
    harness.publish(1, b"slow")
    harness.unpublish("n")
    harness.publish(1, b"slow")
    harness.loads.let_go.set()
    assert harness.settle() == ["served 1"]
    assert harness.loads.calls == [("n", 1)]


def test_what_served_serves_again_after_a_restart(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    again = make(harness.serving.log("t"))
    assert again.restored == ["served 1"]
    assert [r.version for r in again.score(1)] == [1]


@pytest.mark.parametrize(("waiting", "told"), [(b"", ["stats 1", "served 2"]), (b"bad", ["refused 2"])])
def test_a_restart_takes_up_what_waited_behind_what_served(make, waiting: bytes, told: list[str]):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(2, waiting)
    stored = harness.serving.log("t")
    again = make(stored)
    assert again.restored == ["served 1"]
    assert again.settle() == told
    after = again.serving.log("t")
    assert after != stored, "a restore that settles the log is stored, or the next one does it again"
    assert make(after).restored == [told[-1] if told[-1].startswith("served") else "served 1"]


def test_a_served_model_that_cannot_be_loaded_at_a_restart_stops_the_job(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    stored = harness.serving.log("t")

    def load(published):
        raise LoadError("the store is out of reach")

    serving = Serving(load, JsonCodec(), raw_json=True, max_batch=8, subtask=0)
    with pytest.raises(LoadError, match="out of reach"):
        serving.restore("t", stored)
    assert not serving.serves("t")


def test_data_types_are_apart(make):
    harness = make()
    harness.serving.restore("u", None)
    harness.publish(1)
    harness.settle()
    assert harness.serving.serves("t") and not harness.serving.serves("u")
    assert [s.data_type for s in harness.serving.stats()] == ["t"] and not harness.serving.knows("v")


def test_micro_batches_are_cut_and_counted(make):
    harness = make(max_batch=4)
    harness.publish(1)
    harness.settle()
    harness.serving.stats()
    results = harness.score(*range(10))
    assert [r.offset for r in results] == list(range(10))
    assert harness.loads.runtimes["n", 1].batches == [4, 4, 2]
    (stats,) = harness.serving.stats()
    assert isinstance(stats, ModelToServeStats)
    assert (stats.usage, stats.batches, stats.failures, stats.subtask) == (10, 3, 0, 3)
    assert harness.serving.stats() == []


def test_failures_are_counted_and_micro_batches_that_no_model_saw_are_not(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    list(harness.serving.score(batch_of([b"no json"])))
    list(harness.serving.score(batch_of([b'{"a":13}', b'{"a":1}'])))
    (stats,) = harness.serving.stats()
    assert (stats.usage, stats.batches, stats.failures) == (2, 1, 1)
    assert stats.min_ms > 0


def test_statistics_are_not_told_more_often_than_asked(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    assert len(harness.serving.stats(3_600_000)) == 1
    harness.score(1)
    assert harness.serving.stats(3_600_000) == []
    assert len(harness.serving.stats()) == 1


def test_released_records_say_why(make):
    sent = list(make().serving.release(batch_of([b'{"a":1}', b"no json"]), "no model yet"))
    run, dead = sent
    assert isinstance(run, Results) and isinstance(dead, DeadLetter)
    result = read_result(run.lines[0])
    assert (result.outcome, result.reason, result.model) == (Outcome.NO_MODEL, "no model yet", "")


def test_bytes_that_are_no_descriptor_become_an_event(make):
    event = make().serving.unreadable(b"\xff")
    assert (event.kind, event.step) == (EventKind.REFUSED, "descriptor")
    with pytest.raises(ValueError):
        make().serving.unreadable(build(data_type="t", data=b"x"))


def test_closing_gives_everything_back(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(2)
    harness.serving.close()
    assert all(runtime.closed for runtime in harness.loads.runtimes.values())


def test_a_plan_of_speculative_execution_changes_nothing_here(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    before, revision = harness.serving.log("t"), harness.serving.revision("t")
    descriptor = build(data_type="t", name="n", version=2, operation=DECIDE, plan='{"deadline_ms": 50}')
    (event,) = harness.serving.publish(descriptor, parse(descriptor))
    assert (event.kind, event.name, event.version, event.step) == (EventKind.NOT_APPLICABLE, "n", 2, "plan")
    assert event.reason
    assert harness.settle() == []
    assert (harness.serving.log("t"), harness.serving.revision("t")) == (before, revision)
    assert [r.version for r in harness.score(1)] == [1]
    assert harness.publish(2) == []  # the plan's version is none of the model's
