"""Whatever happens in whatever order: one answer to every request from every candidate asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.model_pb2 import CandidateLogs
from schemas.results.answers import Answer, AnswerOutcome, Reason, from_columns
from schemas.results.records import ModelToServeStats
from tests.executor_fakes import STICKS, Bench, Loader, Sticking

KEYS = ("0/t", "1/t")
NAMES = ("a", "b")
MOST_ABANDONED = 2
names = st.sampled_from(NAMES)


class Interleavings(RuleBasedStateMachine):
    """Threads run as they like; the clock, and calls that stick, are in the machine's hands."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(max_abandoned=MOST_ABANDONED)
        self.asked: dict[tuple[str, str], str] = {}
        self.answers: list[Answer] = []
        self.version = dict.fromkeys(NAMES, 1)
        self.bench.serve(*NAMES)

    @rule(name=names, content=st.sampled_from([b"", b"", b"", b"", b"bad", b"raising", b"misshapen"]))
    def publish(self, name: str, content: bytes) -> None:
        self.version[name] += 1
        self.bench.publish(name, self.version[name], content + b" %d" % self.version[name])

    @rule(name=names | st.just(""), really=st.integers(0, 5))
    def unpublish(self, name: str, really: int) -> None:
        if not really:
            self.bench.unpublish(name)

    @rule(
        who=st.sets(st.sampled_from([*NAMES, "nobody"]), min_size=1),
        numbers=st.lists(st.sampled_from([1.0, 2.0, 13.0, 17.0, STICKS, b"no json"]), min_size=1, max_size=4),
        ms=st.sampled_from([-1, 50, 2000]),
        key=st.sampled_from(KEYS),
    )
    def ask(self, who: set[str], numbers: list[float | bytes], ms: int, key: str) -> None:
        got = self.bench.now(*sorted(who), numbers=numbers, ms=ms, key=key)
        self.asked |= {(f"b{self.bench.batches}", name): key for name in who}
        self.take(key, got)

    @rule(name=names)
    def a_call_sticks(self, name: str) -> None:
        self.ask({name}, [STICKS], 50, KEYS[0])
        self.threads_have_done_what_they_can()

    @rule()
    def threads_have_done_what_they_can(self) -> None:
        def done() -> bool:
            self.take_all()
            waited_for = {p.candidate for key in KEYS for p in self.bench.executor.pending(key)}
            return not waited_for - {name for name in NAMES if self.inside(name)}

        self.bench.until(done)

    @rule(ms=st.sampled_from([10, 100, 600]))
    def time_passes(self, ms: int) -> None:
        self.bench.hands.now += ms

    @rule(which=st.integers(0, 9))
    def a_call_returns(self, which: int) -> None:
        stuck = self.stuck()
        if stuck:
            stuck[which % len(stuck)].go.release()

    @rule(key=st.sampled_from(KEYS))
    def poll(self, key: str) -> None:
        self.bench.poll()
        self.take(key, self.bench.executor.take(key))

    @rule()
    def loads_end(self) -> None:
        self.bench.executor._loader.wait()
        self.bench.poll()

    @invariant()
    def what_is_not_answered_is_pending(self) -> None:
        self.take_all()
        pending = [(p.batch_id, p.candidate) for key in KEYS for p in self.bench.executor.pending(key)]
        given = [(a.batch_id, a.candidate) for a in self.answers]
        assert Counter(given + pending) == Counter(list(self.asked))

    @invariant()
    def threads_are_bounded(self) -> None:
        assert max(Counter(id(r) for r in self.stuck()).values(), default=0) <= 1
        for name in NAMES:
            assert self.inside(name) <= MOST_ABANDONED + 1
        for stats in self.bench.executor.stats():
            assert isinstance(stats, ModelToServeStats) and 0 <= stats.stuck <= MOST_ABANDONED

    def teardown(self) -> None:
        self.bench.loader.let_all_go()
        for key in KEYS:
            self.bench.until(lambda key=key: self.take(key, self.bench.executor.end(key)) or True)
        assert Counter((a.batch_id, a.candidate) for a in self.answers) == Counter(list(self.asked))
        restored = Bench(self.bench.executor.log("t"), Loader())
        before, after = (CandidateLogs.FromString(b.executor.log("t")).logs for b in (self.bench, restored))
        assert before.keys() == after.keys()
        # what was still to be loaded may be loaded by now
        assert all(after[name] == log for name, log in before.items() if not log.pending)
        restored.close()
        self.bench.close()
        self.bench.until_closed()

    def inside(self, name: str) -> int:
        return sum(isinstance(r, Sticking) and bool(r.inside) for r in self.bench.loader.of(name))

    def stuck(self) -> list[Sticking]:
        return [r for _, _, r in self.bench.loader.made if isinstance(r, Sticking) and r.inside]

    def take_all(self) -> None:
        for key in KEYS:
            self.take(key, self.bench.executor.take(key))

    def take(self, key: str, answers: list[Answer]) -> None:
        for answer in answers:
            assert self.asked[answer.batch_id, answer.candidate] == key
            if answer.outcome is AnswerOutcome.SCORED:
                scored = from_columns(answer.columns)["y"]
                rows = range(len(scored)) if answer.rows is None else answer.rows
                assert len(scored) == len(rows) and not set(rows) & set(answer.bad)
                assert answer.version and answer.digest
            else:
                assert answer.reason and not answer.columns
            assert answer.reason != Reason.RESTARTED
        self.answers += answers


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=30, stateful_step_count=25)
