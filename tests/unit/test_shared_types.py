"""A data type that two jobs share by the arms of an experiment: each record is scored by its arm's job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pyflink.datastream import TimeDomain

from operators.rows import MODEL_EVENTS, MODEL_STATS
from operators.serving.scorer import Scorer
from operators.timers import END_OF_INPUT
from schemas.codecs.factory import CodecSpec
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import encode_micro_batch
from schemas.plans.plan import Only, Plan, read_plan, write_plan
from schemas.results.records import ModelEvent, ModelToServeStats, decode
from schemas.results.results import Scored, read_result
from tests.experiment_evidence import OF_USERS
from tests.flink_fakes import FOUR_GROUPS, KeyedContext
from tests.output_batches import messages_of
from tests.serving_fakes import Loads, batch_of
from tests.unit.test_router_operator import Context, Timers
from udfs.ensemble.routing.arms import LEAD_MS, PLANS_KEPT, Arms, Sharing
from udfs.ensemble.routing.splitting import Splitting
from udfs.lifecycle.experiments.arm_plans import plan_after, plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.declaration import Arm
from udfs.models.descriptor import DECIDE, EXPERIMENT, SERVE, WITHDRAW, build, parse
from udfs.models.quotas import Quotas
from udfs.serving.buffering import BufferPolicy
from udfs.serving.serving import Serving

OLD, NEW = Sharing("old", undivided=True), Sharing("new", undivided=False)
STEPS = [plan_of_step(OF_USERS, step) for step in range(3)]
ENDS = [plan_after(OF_USERS, "promoted"), plan_after(OF_USERS, "rolled_back")]
HOUR = 3_600_000


def arms_of(sharing: Sharing, stored: bytes | None = None) -> Arms:
    made = Arms({"t": sharing}, JsonCodec(), raw_json=True, subtask=0, quotas=Quotas(), now=lambda: 7)
    assert made.restore("t", stored) == []
    return made


def published(plan: Plan, version: int, created: int, name: str = "wine-v4") -> bytes:
    return build(
        data_type="t",
        name=name,
        version=version,
        created_ms=created,
        operation=DECIDE,
        plan=write_plan(plan).decode(),
    )


def tell(to: Arms, descriptor: bytes) -> list[str]:
    return [f"{e.kind} {e.reason}".strip() for e in to.publish(descriptor, parse(descriptor))]


def taken(by: Arms, batch) -> dict[int, dict[str, tuple[str, int]]]:
    """Offset -> experiments, of the records that are its own; the rest is counted."""
    parts, left = by.own(batch)
    found = {offset: dict(of) for part, of in parts for offset in part.offsets}
    assert len(found) + left == len(batch) and sum(len(part) for part, _ in parts) == len(found)
    return found


@given(
    st.lists(st.tuples(st.integers(0, HOUR), st.sampled_from([*STEPS, *ENDS])), max_size=6),
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 40)), st.one_of(st.none(), st.integers(0, HOUR))),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 6),
)
def test_each_record_is_one_job_s_whenever_each_job_reads_it(plans, visits, read):
    """A job that is behind reads records before it has read plans that do not divide them yet."""
    plans = sorted(plans, key=lambda one: one[0])
    stream = [published(plan, 1 + k, at) for k, (at, plan) in enumerate(plans)]
    payloads = [b'{"user":%d}' % user if user is not None else b"{}" for user, _ in visits]
    whole = batch_of(payloads, event_times=[at for _, at in visits])
    old, behind = arms_of(OLD), arms_of(NEW)
    for descriptor in stream:
        tell(old, descriptor)
    for descriptor in stream[:read]:
        tell(behind, descriptor)
    until = plans[read][0] + LEAD_MS if read < len(plans) else None
    early = [k for k, (_, at) in enumerate(visits) if until is None or (at is not None and at < until)]
    first, there = taken(old, whole), taken(behind, whole.take(early))
    for descriptor in stream[read:]:
        tell(behind, descriptor)
    again = arms_of(NEW, behind.log("t"))
    second = taken(again, whole)
    assert first.keys() | second.keys() == set(range(len(visits))) and not first.keys() & second.keys()
    assert there == {offset: of for offset, of in second.items() if offset in early}


def test_the_arm_is_that_of_the_declaration_and_of_the_speculating_job():
    records = [b'{"user":"u%d"}' % k for k in range(400)]
    batch = batch_of(records, event_times=[LEAD_MS] * 400)
    old, new = arms_of(OLD), arms_of(NEW)
    for job in (old, new):
        assert tell(job, published(STEPS[1], 1, 0)) == ["decides"]
    expected = treated(OF_USERS, [b"u%d" % k for k in range(400)], 1).tolist()
    assert taken(new, batch) == {k: {"wine-v4": ("treatment", 1)} for k in range(400) if expected[k]}
    assert taken(old, batch) == {k: {"wine-v4": ("control", 1)} for k in range(400) if not expected[k]}
    after = {
        part.offsets[0]: way.experiment.arm
        for part, way in Splitting(STEPS[1], JsonCodec(), True).parts(batch)
    }
    assert after == {min(taken(old, batch)): "control", min(taken(new, batch)): "treatment"}


def test_a_record_without_entity_is_the_first_arm_s_and_in_no_experiment():
    batch = batch_of([b"no json", b'{"user":null}', b"{}"], event_times=[LEAD_MS] * 3)
    old, new = arms_of(OLD), arms_of(NEW)
    for job in (old, new):
        tell(job, published(STEPS[2], 1, 0))
    assert taken(old, batch) == {0: {}, 1: {}, 2: {}} and taken(new, batch) == {}


def test_before_the_first_plan_and_after_its_withdrawal_one_job_scores_all():
    old, new = arms_of(OLD), arms_of(NEW)
    gone = build(data_type="t", name="wine-v4", created_ms=HOUR, operation=WITHDRAW)
    for job in (old, new):
        assert tell(job, published(ENDS[0], 1, 0)) == ["decides"]
        assert tell(job, gone) == ["withdrawn"] and tell(job, gone) == []
    times = [LEAD_MS - 1, LEAD_MS, HOUR + LEAD_MS - 1, HOUR + LEAD_MS, None]
    batch = batch_of([b'{"user":1}'] * 5, event_times=times)
    assert sorted(taken(old, batch)) == [0, 3, 4] and sorted(taken(new, batch)) == [1, 2]


def test_of_old_plans_so_many_are_kept():
    job = arms_of(NEW)
    for k in range(PLANS_KEPT + 1):
        tell(job, published(ENDS[k % 2], 1 + k, k * LEAD_MS))
    batch = batch_of([b"{}"] * 2, event_times=[LEAD_MS, 3 * LEAD_MS])
    assert list(taken(job, batch)) == [1]  # the first plan, which took both, is forgotten
    assert list(taken(arms_of(NEW, job.log("t")), batch)) == [1]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan(), "the plan asks more than one model"),
        (Plan(route=Only(("old", "new"))), "the plan asks more than one"),
        (Plan(route=Only(("old",)), shadow=("new",)), "the plan asks more than one"),
        (
            plan_of_step(replace(OF_USERS, arms={"control": Arm("old"), "treatment": Arm(shadow="new")}), 0),
            "arm 'treatment' asks more than one",
        ),
    ],
)
def test_a_plan_that_jobs_of_one_model_cannot_follow_is_refused_and_changes_nothing(plan, said):
    job = arms_of(NEW)
    tell(job, published(ENDS[0], 1, 0))
    before, revision = job.log("t"), job.revision("t")
    (told,) = tell(job, published(plan, 2, 1))
    assert said in told and told.startswith("refused")
    (stale,) = tell(job, published(ENDS[1], 1, 2))
    assert stale.startswith("refused") and "version 1" in stale
    assert tell(job, published(ENDS[0], 1, 0)) == ["already_served"]
    assert (job.log("t"), job.revision("t")) == (before, revision)


def test_only_the_job_s_model_is_served_and_other_types_are_as_ever():
    job = arms_of(NEW)
    orders = build(data_type="t", name="wine-v4", version=1, operation=EXPERIMENT, experiment="{}")
    model = {"version": 1, "data": b"x", "operation": SERVE}
    sent = [build(data_type="t", name=name, **model) for name in ("new", "old")]
    sent += [build(data_type="t", operation=WITHDRAW), orders, published(STEPS[0], 1, 0)]
    assert [job.serves(parse(one)) for one in sent] == [True, False, True, False, False]
    other = build(data_type="u", name="p", version=1, operation=DECIDE, plan=write_plan(STEPS[0]).decode())
    assert job.serves(parse(other)) and job.publish(other, parse(other)) == []
    batch = batch_of([b"no json"], data_type="u")
    assert job.own(batch) == ([(batch, {})], 0)


class Job:
    """The scoring operator of one job that shares `t`; its models add their version."""

    def __init__(self, sharing: Sharing, states: dict[str, dict[str, Any]] | None = None) -> None:
        serving = Serving(Loads(), JsonCodec(), raw_json=True, max_batch=1024, subtask=0)
        spec = SimpleNamespace(
            codec=CodecSpec(),
            buffer=BufferPolicy(),
            quotas=Quotas(),
            max_batch=1024,
            timer_ms=100,
            stats_ms=0,
            serving=lambda index, restarted: serving,
        )
        self.store, self.timers = KeyedContext(states), Timers()
        self.operator = Scorer(spec, FOUR_GROUPS, {"t": sharing})  # type: ignore[arg-type]
        self.operator.open(self.store)  # type: ignore[arg-type]
        self.key = self.store.key = FOUR_GROUPS.keys_of_instance(0, 1)[0]
        self.results: list[Scored] = []
        self.told: list[str] = []
        self.stats: list[ModelToServeStats] = []

    def batch(self, *records: bytes, start: int = 0) -> None:
        at = [LEAD_MS + offset for offset in range(start, start + len(records))]
        packed = encode_micro_batch(batch_of(list(records), start=start, event_times=at))
        self._take(self.operator.process_element1(packed, Context(self.key, self.timers)))

    def tell(self, *descriptors: bytes) -> None:
        for one in descriptors:
            self._take(self.operator.process_element2(one, Context(self.key, self.timers)))

    def end(self) -> None:
        context = Context(self.key, self.timers, TimeDomain.EVENT_TIME)
        self._take(self.operator.on_timer(END_OF_INPUT, context))

    def _take(self, rows) -> None:
        for row in rows:
            if not isinstance(row, tuple):
                self.results += [read_result(one.value) for one in messages_of(row)]
            elif row[0] == MODEL_EVENTS:
                self.told += [
                    f"{e.kind} {e.name}" for e in (decode(ModelEvent, m.value) for m in messages_of(row[1]))
                ]
            elif row[0] == MODEL_STATS:
                self.stats += [decode(ModelToServeStats, m.value) for m in messages_of(row[1])]


def test_two_jobs_score_each_record_once_also_after_a_restart():
    records = [b'{"a":1,"user":%d}' % k for k in range(100)]
    stream = [
        published(STEPS[2], 1, 0),
        build(data_type="t", name="old", version=3, data=b"old"),
        build(data_type="t", name="new", version=4, data=b"new"),
    ]
    found: dict[int, Scored] = {}
    for sharing, mine, arm in ((OLD, "old", "control"), (NEW, "new", "treatment")):
        job = Job(sharing)
        job.batch(*records[:50])  # before there is a plan, or a model
        job.tell(*stream)
        job.end()
        again = Job(sharing, job.store.states)
        again.batch(*records[50:], start=50)
        again.end()
        again.operator.close()
        job.operator.close()
        assert job.told == ["decides wine-v4", f"served {mine}"]
        results = [*job.results, *again.results]
        assert {(r.model, r.experiments["wine-v4"]) for r in results} == {(mine, (arm, 2))}
        assert job.stats[-1].usage + job.stats[-1].left == 50 == again.stats[-1].usage + again.stats[-1].left
        assert not found.keys() & {r.offset for r in results}
        found |= {r.offset: r for r in results}
    assert sorted(found) == list(range(100))
    in_treatment = treated(OF_USERS, [b"%d" % k for k in range(100)], 2).tolist()
    assert [found[k].model == "new" for k in range(100)] == in_treatment
    assert read_plan(parse(stream[0]).plan) == STEPS[2]


def test_a_job_without_its_model_lets_only_its_own_records_go():
    job = Job(OLD)
    job.tell(published(STEPS[2], 1, 0), build(data_type="t", name="new", version=4, data=b"new"))
    job.batch(*[b'{"a":1,"user":%d}' % k for k in range(20)])
    job.end()
    job.operator.close()
    assert {(r.outcome, r.reason) for r in job.results} == {("no_model", "no model at the end of the input")}
    assert 0 < len(job.results) < 20 and {r.experiments["wine-v4"] for r in job.results} == {("control", 2)}


def test_a_plan_of_a_time_far_ahead_does_not_keep_later_ones_waiting():
    """Plans divide records from their time on, and never before one that came earlier."""
    job, far = arms_of(NEW), 2 * HOUR
    assert tell(job, published(STEPS[0], 1, 8)) == ["decides"]
    assert "refused it is dated more than an hour" in tell(job, published(STEPS[1], 2, far))[0]
    gone = build(data_type="t", name="wine-v4", operation=WITHDRAW, created_ms=2**62)
    assert "refused it is dated" in tell(job, gone)[0]
    assert tell(job, published(ENDS[0], 3, 9)) == ["decides"]
    batch = batch_of([b"{}"], event_times=[LEAD_MS + 10])
    assert len(job.own(batch)[0]) == 1
