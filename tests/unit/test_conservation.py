"""Whatever comes, in whatever order: what went in is what comes out and what still waits, each record once.

The same of the parts of speculation is in test_router, test_executor_interleavings and test_collecting, of
requests in test_assembler and test_assembly_operator.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults import bad_records, descriptors, plans
from operators.features import decode_events
from operators.rows import DEAD_LETTERS, MODEL_EVENTS, to_rows
from operators.serving.scorer import Scorer
from schemas.codecs.factory import CodecSpec
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import DescriptorError
from schemas.micro_batch import NULL_PAYLOAD, MicroBatch, decode_micro_batch, encode_micro_batch
from schemas.results.records import DeadLetter, decode
from schemas.results.results import read_result
from tests.feature_harness import END, FeatureHarness, Keyed
from tests.flink_fakes import ONE_GROUP
from tests.output_batches import messages_of
from tests.serving_fakes import NOT_FINITE, POISON, STICKS, Loads
from tests.unit.test_feature_operators import DECLARED, START, events
from udfs.models.descriptor import WITHDRAW, build, parse
from udfs.models.quotas import Quotas
from udfs.serving.buffering import BufferPolicy
from udfs.serving.serving import Serving

HOSTILE = [record for record in bad_records.hostile() if len(record.value or b"") < 5000]
TYPES = ("t", "u")
MAX_BATCH = 3
QUOTAS = Quotas(call_seconds=0.02, unresponsive=1, patience_ms=1)
TIMES = [None, 0, 5, 1_790_000_000_000, 253_402_300_800_000]

good = st.sampled_from([1.0, 2.5, POISON, NOT_FINITE, STICKS]).map(lambda a: b'{"a": %f}' % a)
payload = st.one_of(
    good, good, st.sampled_from([r.value for r in HOSTILE]), st.binary(max_size=12), st.just(NULL_PAYLOAD)
)
header = st.tuples(st.sampled_from(["h", "data_type", ""]), st.none() | st.binary(max_size=4))
record = st.tuples(
    payload, st.sampled_from(TIMES), st.none() | st.binary(max_size=5), st.lists(header, max_size=2)
)
hostile_descriptor = st.sampled_from([one.descriptor for one in (*descriptors.hostile(), *plans.hostile())])


def published(data_type: str, version: int, content: bytes, force: bool) -> bytes:
    return build(data_type=data_type, name="n", version=version, data=content + b"%d" % version, force=force)


actions = st.one_of(
    st.tuples(st.just("records"), st.sampled_from(TYPES), st.lists(record, min_size=1, max_size=8)),
    st.tuples(st.just("records"), st.sampled_from(TYPES), st.lists(record, min_size=1, max_size=8)),
    st.tuples(
        st.just("model"),
        st.builds(
            published,
            st.sampled_from(TYPES),
            st.integers(1, 5),
            st.sampled_from([b"ok", b"ok", b"bad", b"odd"]),
            st.booleans(),
        ),
    ),
    st.tuples(st.just("model"), st.sampled_from(TYPES).map(lambda t: build(data_type=t, operation=WITHDRAW))),
    st.tuples(st.just("model"), hostile_descriptor),
    st.tuples(st.just("time"), st.sampled_from([50, 150, 70_000])),
    st.tuples(st.just("call_ends"), st.booleans()),
    st.tuples(st.just("restart")),
)


class ScorerHarness:
    """The scoring operator with Flink's state in memory. `keyed`: by data type, else by instance."""

    def __init__(self, keyed: bool) -> None:
        self.by_type, self.sent = keyed, Counter[tuple[str, int]]()
        self.sticks = threading.Event()
        self.results: list[Any] = []
        self.dead: list[DeadLetter] = []
        self.serving: Serving | None = None
        self.flink = Keyed(self._function())
        self.offset = 0

    def _function(self) -> Scorer:
        spec: Any = SimpleNamespace(
            serving=self._serving,
            codec=CodecSpec(),
            quotas=QUOTAS,
            buffer=BufferPolicy(records=20),
            max_batch=MAX_BATCH,
            timer_ms=100,
            stats_ms=1000,
        )
        return Scorer(spec, None if self.by_type else ONE_GROUP)

    def _serving(self, subtask: int, restarted: bool) -> Serving:
        self.close()
        self.sticks = threading.Event()
        self.serving = Serving(
            Loads(self.sticks),
            JsonCodec(),
            raw_json=True,
            max_batch=MAX_BATCH,
            subtask=subtask,
            quotas=QUOTAS,
        )
        return self.serving

    def close(self) -> None:
        self.sticks.set()
        if self.serving is not None:
            self.serving.close()

    def key(self, data_type: str) -> str:
        return data_type if self.by_type else "0"

    def records(self, data_type: str, records: list[Any]) -> None:
        payloads, times, keys, headers = zip(*records, strict=True)
        offsets = list(range(self.offset, self.offset + len(records)))
        self.offset += len(records)
        null = frozenset(n for n, p in enumerate(payloads) if p is NULL_PAYLOAD or p is None)
        batch = MicroBatch(
            data_type, "topic", [p or b"" for p in payloads], [0] * len(records), offsets, times,
            keys, [tuple(h) for h in headers], null,
        )  # fmt: skip
        self.sent.update((data_type, offset) for offset in offsets)
        packed = encode_micro_batch(batch)
        self.take(self.flink.element(self.key(data_type), packed, input=1))

    def model(self, descriptor: bytes) -> None:
        try:
            key = self.key(parse(descriptor).data_type)
        except DescriptorError:
            key = self.key("")
        self.take(self.flink.element(key, descriptor, input=2))

    def time(self, ms: int) -> None:
        assert self.serving is not None
        self.take(self.flink.pass_time(self.flink.clock + ms))

    def call_ends(self, comes_back: bool) -> None:
        """What is under way comes back, or has to be given up; the operator has not looked yet."""
        assert self.serving is not None
        if comes_back:
            self.sticks.set()
        while any(self.serving.waits(one) for one in TYPES):
            threading.Event().wait(0.001)
        self.sticks.clear()

    def restart(self) -> None:
        self.flink.start(self._function())

    def end(self) -> None:
        self.take(self.flink.advance(END))

    def take(self, sent: list[Any]) -> None:
        for one in sent:
            tag, row = one if isinstance(one, tuple) else (None, one)
            if tag is None:
                self.results += [read_result(m.value) for m in messages_of(row)]
            elif tag is DEAD_LETTERS:
                self.dead += [decode(DeadLetter, m.value) for m in messages_of(row)]
            else:
                assert all(len(m.value) < 1_048_576 for m in messages_of(row)), tag is MODEL_EVENTS

    def out(self) -> Counter[tuple[str, int]]:
        return Counter((one.data_type, one.offset) for one in [*self.results, *self.dead])

    def waiting(self) -> Iterator[tuple[str, int]]:
        for of in self.flink.states["buffered"].values():
            for packed in of.values():
                batch = decode_micro_batch(packed)
                yield from ((batch.data_type, offset) for offset in batch.offsets)


@given(st.booleans(), st.lists(actions, max_size=14))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_of_scoring(keyed: bool, steps: list[Any]) -> None:
    harness = ScorerHarness(keyed)
    try:
        for name, *what in steps:
            getattr(harness, name)(*what)
            assert harness.out() + Counter(harness.waiting()) == harness.sent
        harness.end()
    finally:
        harness.close()
    assert harness.out() == harness.sent
    for result in harness.results:
        if result.scores:
            assert result.scores["y"] == 2 * result.record["a"] + result.version
    for data_type in TYPES:
        offsets = [one.offset for one in harness.results if one.data_type == data_type]
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_what_waits_behind_a_model_that_is_set_aside_waits_on(keyed: bool, ended: bool) -> None:
    harness = ScorerHarness(keyed)
    record = lambda a: (b'{"a": %f}' % a, 5, None, [])  # noqa: E731
    try:
        for a in (STICKS, 1.0, 2.5):
            harness.records("t", [record(a)])
        harness.model(published("t", 1, b"ok", force=False))
        assert harness.serving is not None
        harness.take(list(to_rows(harness.serving.settle())))
        harness.records("t", [record(3.0)])
        while not harness.results:
            harness.call_ends(comes_back=False)
            harness.time(10)
        assert [r.outcome for r in harness.results] == ["failed"]
        if not ended:
            harness.model(published("t", 2, b"ok", force=False))
        harness.end()
    finally:
        harness.close()
    assert harness.out() == harness.sent
    said = ["no model at the end of the input"] * 3 if ended else [4.0, 7.0, 8.0]
    assert [r.reason if ended else r.scores["y"] for r in harness.results[1:]] == said


AMOUNTS: list[Any] = [1, 2.5, None, "1", 1e308, -0.0, True, [1], {"a": 1}]
ATS: list[Any] = [None, "soon", -(10**15), START + 10**12, 2**63, 1e300, START / 1000, START * 1000]
odd = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "x" * 600, None, 5])},
    optional={
        "account": st.sampled_from(["a1", "a2", None, 3]),
        "at": st.sampled_from(ATS) | st.integers(START, START + 4000),
        "amount": st.sampled_from(AMOUNTS),
        "other": st.sampled_from([1, {"deep": [[]]}]),
    },
)
raw = st.sampled_from([r.value for r in HOSTILE if r.value is not None]) | st.binary(max_size=9)


@given(
    st.lists(
        st.tuples(st.lists(odd.map(json.dumps).map(str.encode) | raw, max_size=6), st.integers(0, 10)),
        max_size=8,
    ),
    st.sets(st.integers(0, 7)),
)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_of_features(steps: list[tuple[list[bytes], int]], restarts: set[int]) -> None:
    good_events = events(80)
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(range(START + 10**9, START + 10**12, 1000))
        patch.setattr(decode_events, "_now", lambda: next(clock))
        harness, sent, taken = FeatureHarness(DECLARED), 0, 0
        for at, (bad, count) in enumerate(steps):
            if at in restarts:
                harness.restart()
            good = good_events[taken : taken + count]
            taken += count
            if bad or good:
                harness.send([*bad, *good])
                sent += len(bad) + len(good)
        harness.end()
    # what a view has no key for is told by each view, and is one record
    of_source = len({letter.offset for letter in harness.dead if letter.data_type == "signals"})
    refused = sum(letter.data_type == "spend_v1" for letter in harness.dead)
    assert len(harness.final("spend_v1")) + refused + of_source == sent
