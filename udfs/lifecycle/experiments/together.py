"""Experiments of one data type that run at once: what they must agree on, and the name of their plans."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.errors import ExperimentError
from schemas.plans.plan import (
    LONGEST_PLAN,
    MOST_EXPERIMENTS,
    Plan,
    PlanArm,
    Split,
    populations_meet,
    write_plan,
)
from udfs.lifecycle.experiments.arm_plans import plan_of_arm
from udfs.lifecycle.experiments.declaration import Experiment

PLANS = "experiments"
"""The name of a data type's plans while its experiments have populations: it is one name, so that jobs refuse
an older plan that they read after a newer one. Each plan holds all experiments that run."""
_FOR_NUMBERS = 2_000
"""Bytes by which other shares of the arms may make a plan longer."""
_LAST_STEP = 2**31 - 1


def check_beside(new: Experiment, running: Sequence[Experiment], rest: Plan) -> None:
    """Raises `ExperimentError` where an experiment cannot run beside those that do. `rest`: what entities in
    no experiment get now."""
    if new.name == PLANS:
        raise ExperimentError(f"{PLANS!r} is the name of plans that hold several: give it another name")
    for other in running:
        runs = f"{other.name!r} runs for {other.data_type!r}"
        if populations_meet(new.part, other.part):
            said = f"{runs} with the population {_shown(other)}, and that of {new.name!r} is {_shown(new)}"
            raise ExperimentError(f"{said}: what runs at once needs populations apart")
        if new.entity != other.entity:
            said = f"{runs} by {other.entity!r}, and {new.name!r} draws by {new.entity!r}"
            raise ExperimentError(f"{said}: populations are apart only by the same entity")
    if running and plan_of_arm(new, new.control) != rest:
        said = "its control is not what entities in no experiment get now, which is"
        raise ExperimentError(f"{new.name}: {said} {write_plan(rest).decode():.500}")
    if len(running) >= MOST_EXPERIMENTS:
        said = f"{len(running)} experiments run for {new.data_type!r}, and {MOST_EXPERIMENTS} are the most"
        raise ExperimentError(said)
    if new.population:
        _check_size([new, *running])


def _check_size(experiments: Sequence[Experiment]) -> None:
    """Any arm may get its control's plan, and what any arm gets may become that of the rest."""
    splits, longest = [], []
    for one in experiments:
        longest.append(max((plan_of_arm(one, title) for title in one.compared), key=_size))
        arms = tuple(PlanArm(title, 1 / 3, longest[-1]) for title in one.compared)
        splits.append(Split(one.name, one.entity, one.own_salt, arms, _LAST_STEP, one.population))
    size = _size(replace(max(longest, key=_size), experiments=tuple(splits))) + _FOR_NUMBERS
    if size > LONGEST_PLAN:
        said = f"the plan of all that run may have {size:,} bytes, and {LONGEST_PLAN:,} are the most"
        raise ExperimentError(f"{experiments[0].name}: with it {said}")


def _size(plan: Plan) -> int:
    return len(write_plan(plan))


def _shown(experiment: Experiment) -> str:
    return str(list(experiment.part))
