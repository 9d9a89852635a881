"""The state machine of the controller, without Flink: orders and evidence in, plans and events out.

State lives with the caller: `restore` takes an experiment in once, `log` gives it back after `changed` has
named it; `plans` does so with what is known of plans. Entities that were counted are the caller's to keep
too (`Counted`), since there may be many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import ExperimentError, PlanError
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.lifecycle.quality import EvidenceBatch
from schemas.plans.plan import Plan, read_plan, write_plan
from udfs.ensemble.routing.splitting import Splitting
from udfs.lifecycle.experiments.arm_plans import plan_with, promoted_by
from udfs.lifecycle.experiments.deciding import Decision, finished
from udfs.lifecycle.experiments.declaration import Experiment, check_new
from udfs.lifecycle.experiments.orders import Order, read_order
from udfs.lifecycle.experiments.plans_seen import InForce, PlansSeen
from udfs.lifecycle.experiments.running import Running, read_running, write_running
from udfs.lifecycle.experiments.together import check_beside
from udfs.models.descriptor import DECIDE, EXPERIMENT, SERVE, WITHDRAW, Publication
from udfs.models.model_log import HIGHEST_VERSION

ENDS: dict[str, Literal["promoted", "rolled_back", "stopped"]] = {
    "promote": "promoted",
    "roll_back": "rolled_back",
    "rollback": "rolled_back",
    "stop": "stopped",
}
_LAST_START = HIGHEST_VERSION - 2**32
"""The last version that leaves enough above it for all plans that may follow."""


@dataclass(frozen=True, slots=True)
class PlanOrdered:
    """A plan to be put on the model stream. `why`: for those who read of it there."""

    data_type: str
    name: str
    version: int
    plan: bytes
    why: str


Said = PlanOrdered | ExperimentEvent


class Counted(Protocol):
    """Which entities of an experiment have been counted."""

    def new(self, experiment: str, entity: str) -> bool:
        """Whether it is the first time that the entity is asked for; it is counted from now on."""

    def forget(self, experiment: str) -> None:
        """The experiment has ended."""


class CountedInMemory:
    """For judging once more what is there."""

    def __init__(self) -> None:
        self.entities: set[tuple[str, str]] = set()

    def new(self, experiment: str, entity: str) -> bool:
        there = (experiment, entity) in self.entities
        self.entities.add((experiment, entity))
        return not there

    def forget(self, experiment: str) -> None:
        self.entities = {one for one in self.entities if one[0] != experiment}


class Controller:
    """All experiments of one instance, used from its one thread. Times are epoch ms.

    `most_jump`: `models.version_jump` of the jobs that follow its plans; None: they take any version.
    """

    def __init__(self, counted: Counted, most_jump: int | None = None) -> None:
        self._counted = counted
        self._known: dict[str, Running] = {}
        self._news: dict[str, None] = {}
        self._told: set[str] = set()
        self.plans = PlansSeen(most_jump)

    def restore(self, stored: bytes) -> None:
        """Take over an experiment. Raises `ExperimentError` for bytes that are none."""
        running = read_running(stored)
        self._known[running.experiment.name] = running

    def changed(self) -> list[str]:
        """The experiments that have changed since the last call."""
        names, self._news = list(self._news), {}
        return names

    def declared(self, name: str) -> Experiment | None:
        """An experiment that was started, whether or not it has ended."""
        found = self._known.get(name)
        return None if found is None else found.experiment

    def log(self, name: str) -> bytes:
        """The state of an experiment."""
        return write_running(self._known[name])

    def published(self, published: Publication, now: int) -> Iterator[Said]:
        """Act on a message of the model stream, which may be one of this controller's plans."""
        data_type, name, version = published.data_type, published.name, published.version
        if published.operation == EXPERIMENT:
            yield from self.order(data_type, name, published.experiment, version, now)
        elif published.operation == DECIDE:
            yield from self.planned(published, now)
        elif published.operation in (SERVE, WITHDRAW):
            unpublished = published.operation == WITHDRAW
            yield from self.replaced(data_type, name, None if unpublished else version, now)

    def order(self, data_type: str, name: str, text: str, version: int, now: int) -> Iterator[Said]:
        """Act on an order about the experiment `name`. A plan of it gets a version above that of the order.

        What cannot be done is refused in an event, and changes nothing.
        """
        try:
            order = read_order(text)
            if order.experiment is not None:
                if order.experiment.name != name:  # orders to end it, and what is said of it, would miss it
                    said = f"{order.experiment.name!r} was sent under the name {name!r}"
                    raise ExperimentError(f"{said}: send it under its own, without spaces around it")
                yield from self._start(order.experiment, data_type, version, now)
            else:
                yield from self._end(order, data_type, name, now)
        except ExperimentError as e:
            yield ExperimentEvent(kind="refused", experiment=name, data_type=data_type, at=now, reason=str(e))

    def evidence(self, batch: EvidenceBatch, now: int) -> Iterator[Said]:
        """Take in what has become known of entities, and act on what follows from it.

        An entity counts by the first of its records that counts. What was scored before the experiment
        started, what is in an arm that is not compared, and all that comes after the end is passed over; of
        what another than the arm's model answered see `Running.sees`.
        """
        running = self._known.get(batch.experiment)
        if running is None or not running.runs or running.experiment.data_type != batch.data_type:
            return
        experiment, compared = running.experiment, set(running.experiment.compared)
        rows: list[int] = []
        foreign: set[int] = set()
        for row, arm in enumerate(batch.arms):
            if arm in compared and running.has(batch.steps[row]) and batch.entities[row]:
                counts, own = running.sees(batch, row)
                if not own:
                    foreign.add(row)
                if counts and self._counted.new(experiment.name, batch.entities[row]):
                    rows.append(row)
        if foreign:
            self._changed(running)
        if not rows:
            return
        values = {n: [None if row in foreign else v[row] for row in rows] for n, v in batch.values.items()}
        titles, steps = (np.array([of[row] for row in rows]) for of in (batch.arms, batch.steps))
        before = running.state.step
        self._changed(running)
        yield from self._act(running, running.take(titles, values, steps), before, now)

    def replaced(self, data_type: str, model: str, version: int | None, now: int) -> Iterator[Said]:
        """A version of a model was published (0: one that nobody numbered), or with None withdrawn, of all
        models where it has no name: an experiment about another version of it, or about a model that is gone,
        is no longer about what was declared, and is rolled back. A plan is withdrawn by its name too: its
        experiments are stopped, unless a plan of this controller's is still to come."""
        if version is None and self.plans.withdraw(data_type, model):
            yield from self._follow(data_type, now)
        for running in self._of(data_type):
            for title in running.experiment.compared:
                arm = running.experiment.arms[title]
                about, gone = arm.model or arm.shadow, version is None
                if not running.runs or not about or (not gone and arm.version in (0, version)):
                    continue
                if about == model or (gone and not model):
                    was = "it was withdrawn" if gone else f"version {version or '?'} was published"
                    which = f"version {arm.version} of {about!r}" if arm.version else repr(about)
                    said = f"arm {title!r} is {which}, and {was}"
                    decision = finished(running.state, "version", said)
                    yield from self._act(running, decision, running.state.step, now)

    def planned(self, published: Publication, now: int) -> Iterator[Said]:
        """A plan is on the model stream. Another's takes the place of experiments, which are stopped then,
        unless a plan of this controller's is still to come, which takes its place in turn.

        One of this controller's is news only where jobs refuse it, as another's came before it, and to a
        controller that was started without its state, which goes on from there. What is no plan, or has a
        version that jobs refuse, changes nothing.
        """
        try:
            _check_rules(read_plan(published.plan))
        except PlanError:
            return
        data_type, of_plan = published.data_type, (published.name, published.version)
        ended = [
            one
            for one in self._of(data_type)
            if (one.plan_name, one.plan_version) == of_plan and not one.runs
        ]
        if not self.plans.take(published):
            return
        yield from self._follow(data_type, now)
        found = self.plans.in_force(data_type)
        if found is None or found.text != published.plan:  # it is its own and refused: it ended none
            for running in ended:
                yield self._displaced(running, found, now)

    def _follow(self, data_type: str, now: int) -> Iterator[Said]:
        """What runs goes on by the plan that is in force, or is ended by it."""
        found = self.plans.in_force(data_type)
        plan = read_plan(found.text if found else "")
        splits = {split.name: split for split in plan.splits}
        for running in self._of(data_type):
            if not running.runs:
                continue
            if found is None or found.name != running.plan_name:
                yield self._displaced(running, found, now)
                continue
            split = splits.get(running.experiment.name)
            if found.version > _LAST_START:
                yield self._displaced(running, found, now, "leaves none above it")
                continue
            if split is not None and not running.has_split(split):
                yield self._displaced(running, found, now, "was put in force with other arms under its name")
                continue
            self._changed(running)
            running.plan_version, before = found.version, running.rest
            if running.experiment.population:
                running.others_get = plan.rest
            if split is not None:
                running.follow(split)
                continue
            promoted = promoted_by(running.experiment, plan.rest) if plan.rest != before else ""
            if promoted:
                running.promote(promoted)
            rolled_back = plan.rest == before
            running.status = "promoted" if promoted else "rolled_back" if rolled_back else "stopped"
            running.at = now
            running.reason = f"plan version {found.version} had ended it"
            yield running.event(running.status, now)
            self._counted.forget(running.experiment.name)

    def on_timer(self, now: int) -> Iterator[Said]:
        """End what has come to its declared end, and tell of what has changed since the last call."""
        for _, running in sorted(self._known.items()):  # as `_of`
            end = running.experiment.end
            if running.runs and end is not None and now >= end.timestamp() * 1000:
                said = (
                    f"it ended at {end.isoformat()} without a decision; {running.evidence or 'no evidence'}"
                )
                yield from self._act(running, finished(running.state, "end", said), running.state.step, now)
        told, self._told = self._told, set()
        for name in sorted(told):
            if self._known[name].runs:
                yield self._known[name].event("progress", now)

    def _start(self, experiment: Experiment, data_type: str, version: int, now: int) -> Iterator[Said]:
        if experiment.data_type != data_type:
            said = f"{experiment.name} is about {experiment.data_type!r} and was sent for {data_type!r}"
            raise ExperimentError(said)
        if experiment.name in self._known:
            if self._known[experiment.name].experiment == experiment and self._known[experiment.name].runs:
                return  # the same order once more
            raise ExperimentError(f"there was an experiment {experiment.name!r}: give this one another name")
        check_new(experiment)
        running = Running.begun(experiment, version, now)
        others = [other for other in self._of(data_type) if other.runs]
        if others:
            running.others_get = others[0].rest
        check_beside(experiment, [other.experiment for other in others], running.rest)
        running.plan_version = self._next_version(running, version)
        _check_room(running, version)
        plan = self._plan(running, "step 1")  # before it is known: its arms may contradict themselves
        try:
            _check_rules(read_plan(plan.plan))
        except PlanError as e:
            raise ExperimentError(f"{experiment.name}: {e}") from None
        self._known[experiment.name] = running
        self._changed(running)
        yield self._sent(plan)
        yield running.event("started", now)

    def _end(self, order: Order, data_type: str, name: str, now: int) -> Iterator[Said]:
        running = self._known.get(name)
        if running is None or running.experiment.data_type != data_type:
            raise ExperimentError(f"there is no experiment {name!r} for {data_type!r}")
        if not running.runs:
            raise ExperimentError(f"{name!r} has ended: it is {running.status.replace('_', ' ')}")
        if order.action == "promote":
            running.promote(order.arm)
        running.metric = ""
        yield from self._ended(running, ENDS[order.action], order.reason or f"{order.action} by order", now)

    def _act(self, running: Running, decision: Decision, before: int, now: int) -> Iterator[Said]:
        self._changed(running)
        running.metric, running.evidence = decision.metric, decision.evidence
        if decision.action != "continue":
            yield from self._ended(running, ENDS[decision.action], "", now)
        elif decision.step > before:
            running.plan_version = self._next_version(running)
            yield self._sent(self._plan(running, f"step {decision.step + 1}; {decision.evidence}"))
            yield running.event("step", now)

    def _ended(
        self, running: Running, status: Literal["promoted", "rolled_back", "stopped"], reason: str, now: int
    ) -> Iterator[Said]:
        running.status, running.reason, running.at = status, reason, now
        running.plan_version = self._next_version(running)
        self._changed(running)
        self._counted.forget(running.experiment.name)
        for other in self._of(running.experiment.data_type):
            if other.runs and status == "promoted":
                other.others_get = running.rest
                self._changed(other)
        why = "; ".join(filter(None, (status.replace("_", " "), running.metric, running.evidence, reason)))
        yield self._sent(self._plan(running, why))
        yield running.event(status, now)

    def _displaced(
        self, running: Running, found: InForce | None, now: int, why: str = "was put in force in its place"
    ) -> ExperimentEvent:
        """Something else is in force by now, and stays."""
        self._changed(running)
        reason = (
            f"its plan {running.plan_name!r} is not in force, nor is another: what was has been withdrawn"
        )
        if found is not None:
            reason = f"plan {found.name!r} version {found.version} {why}"
        running.status, running.reason, running.at = "stopped", reason, now
        self._counted.forget(running.experiment.name)
        return running.event("stopped", now)

    def _plan(self, running: Running, why: str) -> PlanOrdered:
        """What follows for the data type from what has changed of one of its experiments."""
        name, data_type = running.experiment.name, running.experiment.data_type
        others = [other for other in self._of(data_type) if other.experiment.name != name]
        splits = [one.split() for one in (running, *others) if one.runs]
        why = f"{name}: {why}" if running.experiment.population else why
        plan = write_plan(plan_with(running.rest, splits))
        return PlanOrdered(data_type, running.plan_name, running.plan_version, plan, why)

    def _sent(self, plan: PlanOrdered) -> PlanOrdered:
        """It comes back on the model stream."""
        self.plans.write(plan.data_type, plan.name, plan.version, plan.plan)
        return plan

    def _next_version(self, running: Running, asked: int = 0) -> int:
        """Of the plan that is written next under the name of its plans."""
        name, data_type = running.plan_name, running.experiment.data_type
        own = (one.plan_version for one in self._of(data_type) if one.plan_name == name)
        return self.plans.next_version(data_type, name, max(asked, 1 + max(own, default=0)))

    def _of(self, data_type: str) -> list[Running]:
        """By name: a restore may bring them in any order."""
        of_type = (one for one in self._known.values() if one.experiment.data_type == data_type)
        return sorted(of_type, key=lambda one: one.experiment.name)

    def _changed(self, running: Running) -> None:
        self._news[running.experiment.name] = None
        self._told.add(running.experiment.name)


def _check_rules(plan: Plan) -> None:
    """Raises `PlanError` for a plan that jobs would refuse for its rules."""
    try:
        Splitting(plan, JsonCodec(), raw_json=True)
    except PlanError:
        raise
    except Exception as e:  # whatever a rule makes of the code that reads it, jobs refuse it for
        raise PlanError(f"its rules cannot be read: {type(e).__name__}") from e


def _check_room(running: Running, asked: int) -> None:
    """Raises `ExperimentError` where its first plan, for which version `asked` was given, leaves too few
    versions for those that follow."""
    version = running.plan_version
    if version <= _LAST_START:
        return
    said = f"{running.experiment.name}: version {version} of its plan leaves too few above it"
    if version == asked:
        raise ExperimentError(f"{said} for the plans that follow: {_LAST_START} is the last to start with")
    do = "leave out its population" if running.experiment.population else "give it another name"
    said = f"{said}, and a plan {running.plan_name!r} of version {version - 1} is on the model stream"
    raise ExperimentError(f"{said}: {do}, so that its plans have another")
