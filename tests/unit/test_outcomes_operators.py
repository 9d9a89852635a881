"""The operators of the outcomes job without Flink: what they send where, also after a restart."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest
from pyflink.datastream import TimeDomain
from pyflink.datastream.output_tag import OutputTag

from operators.features.feature_rows import HISTORY
from operators.key_groups import KeyGroups
from operators.lifecycle.count_quality import CountQuality
from operators.lifecycle.join_outcomes import JoinOutcomes
from operators.lifecycle.outcome_rows import COUNTS, EVIDENCE, shard_keys
from operators.lifecycle.read_outcomes import ReadOutcomes
from operators.rows import DEAD_LETTERS
from operators.timers import END_OF_INPUT
from schemas.errors import SettingsError
from schemas.lifecycle.quality import OutcomeCounts, QualityRecord, read_message
from schemas.micro_batch import encode_micro_batch
from tests.flink_fakes import FOUR_GROUPS, KeyedContext
from tests.outcome_cases import JUDGING, batch, outcome, result
from tests.output_batches import messages_of
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Terms

SPEC = JoinSpec({"wine": JUDGING}, Terms(window=10_000), shards=2, told_ms=1, timer_ms=1)
KEYS = shard_keys(FOUR_GROUPS, 2)


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
    """All operators of the job, one instance each, over states that outlive them."""

    def __init__(self) -> None:
        self.join_context, self.quality_context = KeyedContext(), KeyedContext()
        self.sent: dict[str, list[Any]] = {}
        self.restart()

    def restart(self) -> None:
        self.join, self.quality = JoinOutcomes(SPEC, KEYS), CountQuality(SPEC)
        self.join.open(self.join_context)
        self.quality.open(self.quality_context)
        self.readers = [ReadOutcomes(what, SPEC, KEYS) for what in ("results", "outcomes")]
        for reader in self.readers:
            reader.open(KeyedContext())

    def feed(self, which: int, *messages: Any) -> None:
        for sent in self.readers[which].process_element(encode_micro_batch(batch(messages)), Call("0")):
            if isinstance(sent, tuple):
                self._take(*sent)
                continue
            key, value = sent
            self.join_context.key = key
            call = (self.join.process_element1, self.join.process_element2)[which]
            self._from_join(call(value, Call(key)))

    def end(self) -> None:
        for key in KEYS:
            self.join_context.key = key
            self._from_join(self.join.on_timer(END_OF_INPUT, Call(key, TimeDomain.EVENT_TIME)))
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


def test_what_is_settled_reaches_store_quality_evidence_and_counts_across_a_restart() -> None:
    job = Job()
    stamp = {"experiments": {"e": {"arm": "control", "step": 0}}}
    job.feed(0, *(result(n, 100, 0.75, stamp=stamp) for n in range(20)), b"x")
    job.feed(1, *(outcome(n, 200) for n in range(10)), b"y", outcome(99, 200))
    job.restart()
    job.feed(1, *(outcome(n, 300, False) for n in range(5)), *(outcome(n, 200) for n in range(10, 15)))
    job.end()
    lines = [line for row in job.sent[HISTORY.tag_id] for line in bytes(row[1]).splitlines()]
    assert len(lines) == 20 + 5  # five have no outcome, and five have one more
    counts = {m.shard: m for m in (read_message(OutcomeCounts, m) for m in job.told(COUNTS))}.values()
    assert sum(c.predictions["joined"] for c in counts) == 15
    assert sum(c.predictions_in for c in counts) == 21 and sum(c.outcomes_in for c in counts) == 22
    assert all(c.waiting_predictions == c.waiting_outcomes == 0 for c in counts)
    codes = [msgspec.json.decode(m)["code"] for m in job.told(DEAD_LETTERS)]
    assert sorted(codes) == ["no_prediction", "unparsable", "unparsable"]
    assert sum(len(msgspec.json.decode(m)["entities"]) for m in job.told(EVIDENCE)) == 20
    quality = [read_message(QualityRecord, m.value) for one in job.sent["quality"] for m in messages_of(one)]
    assert {(q.experiment, q.window) for q in quality} == {(e, w) for e in ("", "e") for w in (0, -1)}
    for record in quality:
        assert (record.figures["predictions"], record.figures["outcomes"]) == (20, 15)
        assert record.figures["accuracy"] == pytest.approx(10 / 15)
    for name in ("predictions", "reminders"):
        assert not any(job.join_context.states[name].values()), name


def test_shards_fall_evenly_and_never_together() -> None:
    groups = KeyGroups(tuple(map(str, range(128))))
    for parallelism in (1, 2, 4, 8):
        owners = [groups.keys.index(key) * parallelism // 128 for key in shard_keys(groups, 8)]
        assert {owners.count(n) for n in range(parallelism)} == {8 // parallelism}
    assert len(set(shard_keys(groups, 128))) == 128
    with pytest.raises(SettingsError, match="129 shards"):
        shard_keys(groups, 129)
