"""The operators of the outcomes job without Flink: what they send where, also after a restart."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyflink.datastream import TimeDomain
from pyflink.datastream.output_tag import OutputTag

from operators.features.feature_rows import HISTORY
from operators.lifecycle import join_outcomes
from operators.lifecycle.count_quality import CountQuality
from operators.lifecycle.join_outcomes import JoinOutcomes
from operators.lifecycle.outcome_rows import COUNTS, EVIDENCE
from operators.lifecycle.read_outcomes import ReadOutcomes
from operators.rows import DEAD_LETTERS
from operators.timers import END_OF_INPUT
from schemas.lifecycle.quality import OutcomeCounts, QualityRecord, read_message
from schemas.micro_batch import encode_micro_batch
from tests.flink_fakes import FOUR_GROUPS, Gauges, KeyedContext
from tests.outcome_cases import JUDGING, MemoryStore, batch, outcome, result
from tests.output_batches import messages_of
from udfs.lifecycle.outcomes.counting import COUNTED
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Joining, Terms
from udfs.lifecycle.outcomes.progress import END
from udfs.lifecycle.outcomes.rows import to_rows

SPEC = JoinSpec({"wine": JUDGING}, Terms(window=10_000), told_ms=1, timer_ms=1)


class Call:
    """The context of one call: a key, timers that nobody fires, and the domain of the timer at hand."""

    def __init__(self, key: str, domain: TimeDomain = TimeDomain.PROCESSING_TIME) -> None:
        self._key, self._domain = key, domain

    def get_current_key(self) -> str:
        return self._key

    def time_domain(self) -> TimeDomain:
        return self._domain

    def timer_service(self) -> Any:
        nothing = lambda at: None  # noqa: E731
        return types.SimpleNamespace(
            register_event_time_timer=nothing,
            register_processing_time_timer=nothing,
            current_processing_time=lambda: 0,
        )


class Job:
    """The operators of the job, with so many instances that join, over states that outlive them."""

    def __init__(self, parallelism: int) -> None:
        self.join_states: dict[str, dict[str, Any]] = KeyedContext().states
        self.quality_context, self.timer = KeyedContext(), 0
        self.sent: dict[str, list[Any]] = {}
        self.restart(parallelism)

    def restart(self, parallelism: int) -> None:
        self.quality_context.metrics = Gauges()
        self.quality = CountQuality(SPEC, FOUR_GROUPS)
        self.quality.open(self.quality_context)
        self.joins: dict[str, tuple[KeyedContext, JoinOutcomes]] = {}
        for index, key in enumerate(FOUR_GROUPS.keys_of_parts(parallelism)):
            context = KeyedContext(index=index, parallelism=parallelism)
            context.states, context.key = self.join_states, key
            join = JoinOutcomes(SPEC, FOUR_GROUPS)
            join.open(context)
            self.joins[key] = context, join
        self.readers = [ReadOutcomes(what, SPEC, FOUR_GROUPS) for what in ("results", "outcomes")]
        for reader in self.readers:
            reader.open(KeyedContext(parallelism=parallelism))

    def feed(self, which: int, *messages: Any, time: int = 0) -> None:
        self._read(which, encode_micro_batch(batch(messages, time)))

    def beat(self, which: int, ms: int) -> None:
        self._read(which, ms.to_bytes(8, "big"))

    def tick(self) -> None:
        self.timer += SPEC.timer_ms
        for key, (context, join) in self.joins.items():
            context.key = key
            self._from_join(join.on_timer(self.timer, Call(key)))

    def mark(self) -> None:
        for which in (0, 1):
            self._read(which, b"")

    def _read(self, which: int, value: bytes) -> None:
        for sent in self.readers[which].process_element(value, Call("0")):
            if isinstance(sent, tuple):
                self._take(*sent)
                continue
            key, delivery = sent
            context, join = self.joins[key]
            context.key = key
            self._from_join((join.process_element1, join.process_element2)[which](delivery, Call(key)))
            assert context.key == key

    def end(self) -> None:
        for key in FOUR_GROUPS.keys:  # timers of all that ever were come back with the state
            for own, (context, join) in self.joins.items():
                if key == own or key not in self.joins:
                    context.key = key
                    self._from_join(join.on_timer(END_OF_INPUT, Call(key, TimeDomain.EVENT_TIME)))
        self.quality_context.key = "wine"
        told = self.quality.on_timer(END_OF_INPUT, Call("wine", TimeDomain.EVENT_TIME))
        self.sent["quality"] = list(told)

    def _from_join(self, sent: Any) -> None:
        for one in sent:
            if isinstance(one, tuple):
                self._take(*one)
                continue
            data_type, value = one
            self.quality_context.key = data_type
            list(self.quality.process_element(value, Call(data_type)))

    def _take(self, tag: OutputTag, value: Any) -> None:
        self.sent.setdefault(tag.tag_id, []).append(value)

    def told(self, tag: OutputTag) -> list[bytes]:
        return [m.value for one in self.sent.get(tag.tag_id, []) for m in messages_of(one)]


@pytest.mark.parametrize("parallelisms", [(1, 1, 1), (1, 2, 4), (4, 1, 3), (2, 3, 1)])
def test_what_is_settled_reaches_store_quality_evidence_and_counts_across_restarts(
    parallelisms: tuple[int, int, int],
) -> None:
    first, second, third = parallelisms
    job = Job(first)
    stamp = {"experiments": {"e": {"arm": "control", "step": 0}}}
    job.feed(0, *(result(n, 100, 0.75, stamp=stamp) for n in range(20)), b"x")
    job.feed(1, *(outcome(n, 200) for n in range(10)), b"y", outcome(99, 200))
    job.restart(second)
    job.feed(1, *(outcome(n, 300, False) for n in range(5)))
    job.restart(third)
    job.feed(1, *(outcome(n, 200) for n in range(10, 15)))
    job.mark()
    job.end()
    asked = {name: ask() for name, ask in job.quality_context.metrics.asked.items()}
    lines = [line for row in job.sent[HISTORY.tag_id] for line in bytes(row[1]).splitlines()]
    assert len(lines) == 20 + 5  # five have no outcome, and five have one more
    counts = {m.key_group: m for m in (read_message(OutcomeCounts, m) for m in job.told(COUNTS))}.values()
    assert sum(c.predictions.get("joined", 0) for c in counts) == 15
    assert sum(c.predictions_in for c in counts) == 21 and sum(c.outcomes_in for c in counts) == 22
    assert sum(c.waiting_predictions for c in counts) == sum(c.waiting_outcomes for c in counts) == 0
    codes = [msgspec.json.decode(m)["code"] for m in job.told(DEAD_LETTERS)]
    assert sorted(codes) == ["no_prediction", "unparsable", "unparsable"]
    assert sum(len(msgspec.json.decode(m)["entities"]) for m in job.told(EVIDENCE)) == 20
    quality = [read_message(QualityRecord, m.value) for one in job.sent["quality"] for m in messages_of(one)]
    assert {(q.experiment, q.window) for q in quality} == {(e, w) for e in ("", "e") for w in (0, -1)}
    for record in quality:
        assert (record.figures["predictions"], record.figures["outcomes"]) == (20, 15)
        assert record.figures["accuracy"] == pytest.approx(10 / 15)
    name, millionths = "data_type.wine.model.forest.version.1.", 1_000_000
    assert {key.removeprefix(name): value for key, value in asked.items()} == {
        "outcomes": 15,
        "coverage_millionths": 15 * millionths // 20,
        "accuracy_millionths": round(10 / 15 * millionths),
    }
    for name in ("predictions", "reminders"):
        assert not any(job.join_states[name].values()), name


def test_a_join_that_was_held_up_gives_up_nothing_that_its_topic_may_still_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1_000]
    monkeypatch.setattr(join_outcomes, "_now", lambda: clock[0])
    job = Job(1)

    def unknown() -> int:
        job.tick()
        counts = [read_message(OutcomeCounts, m) for m in job.told(COUNTS)]
        return counts[-1].predictions.get("no_outcome", 0)

    job.feed(0, result(0, 100), result(1, 100), time=1_000)
    job.feed(1, outcome(0, 200), time=1_000)
    job.beat(1, SPEC.idle_ms - 1)
    clock[0] += 600_000  # the join was held up; nobody has said that its topic was silent
    assert unknown() == 0
    job.feed(1, outcome(2, 200), time=60_000)
    job.beat(1, 1)
    clock[0] += 10
    assert unknown() == 0, "outcomes have been read to before its time is over"
    job.feed(1, outcome(2, 200), time=80_000)
    clock[0] += 10
    assert unknown() == 0, "nothing is known without a beat"
    job.beat(1, 1)
    clock[0] += 10
    assert unknown() == 1


def settled_rows(offset: int, at: int) -> pa.RecordBatch:
    """Of one prediction without an outcome, as quality counts it."""
    joining = Joining(SPEC.terms, MemoryStore(), Fates(), 0)
    joining.results(SPEC.reader(1, 1).results(batch([result(offset, at, 0.75)])).deliveries[0])
    joining.done()
    joining.close(END, END)
    return to_rows(joining.done().settled, JUDGING, 0).select([*COUNTED, *JUDGING.slices])


def test_windows_close_once_every_key_group_has_told_how_far_it_is() -> None:
    kept, over = SPEC.quality("wine", 4), 10**9
    assert dict(kept.add(settled_rows(0, 100), 0))
    kept.settled(range(3), over)
    assert kept.close(over, lambda _: None) == []
    kept.settled(range(3, 4), over)
    assert all(one.closed for one in kept.close(over, lambda _: None))
    assert kept.windows.closed == SPEC.window_ms


def test_a_window_that_lingers_gets_what_is_late_whatever_others_do() -> None:
    """The next one closed before it, and what came then counted since the start and in no window."""
    kept, linger = SPEC.quality("wine", 1), SPEC.terms.grace
    clock = 10**9
    list(kept.add(settled_rows(1, SPEC.window_ms + 100), clock - linger))
    list(kept.add(settled_rows(0, 100), clock - 1))
    kept.settled([0], END)
    assert kept.close(clock, lambda _: None) == []
    list(kept.add(settled_rows(2, 200), clock))
    assert kept.close(clock - 500, lambda _: None) == []  # the clock is set back
    told = kept.close(clock - 500 + linger, lambda _: None)
    closed = {one.window: one.figures["predictions"] for one in told if one.closed}
    assert closed == {0: 2, SPEC.window_ms: 1}


def test_a_source_whose_clock_is_wrong_holds_no_windows_open() -> None:
    """Its old window changed before it had lingered, again and again, and none closed after it."""
    kept, clock, start = SPEC.quality("wine", 1), 10**9, 1000 * SPEC.window_ms
    kept.settled([0], END)
    closed = set()
    for n in range(5):
        clock += SPEC.terms.grace // 2
        list(kept.add(settled_rows(2 * n, 100), clock))
        list(kept.add(settled_rows(2 * n + 1, start + n * SPEC.window_ms), clock))
        closed |= {one.window for one in kept.close(clock, lambda _: None)}
    assert closed == {0, start, start + SPEC.window_ms, start + 2 * SPEC.window_ms}
