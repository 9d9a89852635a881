"""The plans that an experiment puts in force: at each step of its ramp, and when it has ended."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.errors import ExperimentError, PlanError
from schemas.plans.plan import Only, Plan, PlanArm, Split, check_plan
from udfs.lifecycle.experiments.assignment import treatment_share
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
    """Control and treatment with their shares at a step of the ramp, counted from 0.

    Raises `ExperimentError` for no step, and for arms whose plans contradict themselves.
    """
    share = treatment_share(experiment, step)
    shares = {experiment.control: 1 - share, experiment.treatment: share}
    # of pairs both are asked about every record, and the control decides
    of = {title: experiment.treatment if experiment.paired else title for title in shares}
    arms = tuple(PlanArm(title, part, plan_of_arm(experiment, of[title])) for title, part in shares.items())
    plan = Plan(experiment=Split(experiment.name, experiment.entity, experiment.own_salt, arms, step))
    try:
        check_plan(plan)
    except PlanError as e:
        raise ExperimentError(f"{experiment.name}: {e}") from None
    return plan
