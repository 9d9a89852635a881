"""The plans that an experiment puts in force: at each step of its ramp, and when it has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from schemas.errors import ExperimentError, PlanError
from schemas.plans.plan import Only, Plan, PlanArm, Split, check_plan
from udfs.lifecycle.experiments.assignment import shares_of_step
from udfs.lifecycle.experiments.declaration import Experiment


def plan_of_arm(experiment: Experiment, title: str) -> Plan:
    """What an entity of the arm gets."""
    arm = experiment.arms[title]
    if arm.plan is not None:
        return arm.plan
    if arm.model:
        return Plan(route=Only((arm.model,)), deadline_ms=experiment.deadline_ms)
    usual = plan_of_arm(experiment, experiment.control)
    return replace(usual, shadow=(*usual.shadow, arm.shadow))


def plan_of_step(experiment: Experiment, step: int) -> Plan:
    """The arms with their shares at a step that `shares_of_step` knows.

    Raises `ExperimentError` for no step, and for arms whose plans contradict themselves.
    """
    split = split_of_shares(experiment, shares_of_step(experiment, step), step)
    return plan_with(plan_of_arm(experiment, experiment.control), [split])


def split_of_shares(
    experiment: Experiment, shares: Mapping[str, float], step: int, out: Collection[str] = ()
) -> Split:
    """Arms with these shares; those that are `out` get the control's plan, so that no other entity moves."""
    # of pairs both are asked about every record, and the control decides
    of = {title: experiment.treatment if experiment.paired else title for title in shares}
    of |= dict.fromkeys(out, experiment.control)
    arms = tuple(PlanArm(title, part, plan_of_arm(experiment, of[title])) for title, part in shares.items())
    salt = experiment.own_salt
    return Split(experiment.name, experiment.entity, salt, arms, step, experiment.population)


def plan_with(rest: Plan, splits: Sequence[Split]) -> Plan:
    """The experiments, and `rest` for records in none. One about all entities is written as it ever was.

    Raises `ExperimentError` for plans that contradict themselves.
    """
    if [split.population for split in splits] == [msgspec.UNSET]:
        plan = Plan(experiment=splits[0])
    else:
        by_place = tuple(sorted(splits, key=lambda split: split.population or ()))
        plan = replace(rest, experiments=by_place or msgspec.UNSET)
    try:
        check_plan(plan)
    except PlanError as e:
        raise ExperimentError(f"{', '.join(split.name for split in splits)}: {e}") from None
    return plan


def plan_after(experiment: Experiment, status: str, promoted: str = "") -> Plan:
    """What is in force once an experiment has ended: the plan of what was `promoted`, by default the
    treatment's, or the control's."""
    if status != "promoted":
        return plan_of_arm(experiment, experiment.control)
    title = promoted or experiment.treatment
    arm = experiment.arms[title]
    if arm.shadow:
        return Plan(route=Only((arm.shadow,)), deadline_ms=experiment.deadline_ms)
    return plan_of_arm(experiment, title)


def only_model(plan: Plan) -> str:
    """The one candidate that the plan asks; empty where it asks several."""
    names = plan.route.candidates if isinstance(plan.route, Only) else ()
    return names[0] if len(names) == 1 else ""


def promoted_by(experiment: Experiment, plan: Plan) -> str:
    """The arm that this plan after the end promotes; empty where it is the control's."""
    promoted = (t for t in experiment.treatments if plan == plan_after(experiment, "promoted", t))
    return next(promoted, "")
