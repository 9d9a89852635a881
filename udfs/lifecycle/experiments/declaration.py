"""An experiment as it is declared, in TOML or Python."""

from __future__ import annotations

import math
import tomllib
from datetime import datetime
from typing import Literal

import msgspec

from schemas.errors import ExperimentError, PlanError
from schemas.names import excess_of_name, fault_of_alias
from schemas.plans.plan import (
    DEFAULT_DEADLINE_MS,
    LONGEST_PLAN,
    MOST_ARMS,
    Plan,
    check_plan,
    check_population,
    write_plan,
)

_MOST = 2**53
"""Of counts, times and versions: what all who read of them hold."""
_LEAST_ALPHA = 1e-12
_MOST_STEPS = 100
_MOST_METRICS = 32
_LOSSES = frozenset({"failed", "late", "latency", "log_loss", "squared_error", "absolute_error"})
"""Metrics that every prediction has, of which less is better."""
_AROUND_ARMS = 30_000  # bytes of a plan beside those of its arms' plans, at most


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an entity gets: one of a model (a candidate by its name), a plan, and a candidate that only
    shadows.

    `version`: of the model or shadow, which must be the one that scores; 0: whichever does. A `shadow` is
    asked beside the plan of the control, which decides.
    """

    model: str = ""
    version: int = 0
    plan: Plan | None = None
    shadow: str = ""


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is measured by entity.

    `bounded`: values lie in [low, high], and the betting test judges them; `mean`: values without bounds, by
    asymptotic confidence sequences; `quantile`: the q-quantile of a duration in ms, by its confidence
    sequences. `tolerance` is the difference for the worse that is not yet harm, in the metric's units.
    """

    name: str
    kind: Literal["bounded", "mean", "quantile"] = "bounded"
    better: Literal["higher", "lower"] = "higher"
    low: float = 0.0
    high: float = 1.0
    q: float = 0.99
    tolerance: float = 0.0


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thompson sampling: see `udfs.lifecycle.experiments.sampling`.

    Shares are drawn anew after so many entities (`every`). Each arm keeps at least the share `least`, one
    that is out too: its entities get the control's plan.
    """

    every: int = 500
    least: float = 0.1


_RAMP = (0.02, 0.1, 0.5, 1.0)
_SHARE = 0.5


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`control` and `treatment` name two of `arms`; the others are for experiments of their own.

    `sampling`: all of `arms` take part, each but the control as a treatment, with shares that follow what is
    known of them. A treatment that is known to be worse than the control is out; the first that is known to
    be better is promoted. There is no ramp and no `share` then, and metrics are bounded.

    `share`: the treatment's share of entities at the end of the `ramp`, whose steps are parts of it. A step
    is passed after `step_entities` entities of the treatment, with a value of the primary metric, without
    evidence of harm. `alpha`: the
    probability of any wrong decision: a rollback of what is not worse, or a promotion of what is not better.
    A metric without bounds is not judged before `burn_in` entities an arm.
    `deadline_ms`: of arms that are a model. `end`: it is rolled back then, where nothing was decided before.
    `alias`: of the registry, to name the treatment's model once it is promoted.
    `paired`: the treatment is a shadow, and both answer each record, which the control decides: differences
    of an entity's values are judged, which needs outcomes that do not depend on the decision, and far fewer
    entities where both are mostly right about the same ones. There is no ramp then.
    `population`: which part of all entities it is about, as from where to where in [0, 1): experiments of a
    data type with populations apart run at once and share no entity. `share` is of its own entities.
    `smallest`: the difference of the primary metric that matters: with `promote_if_not_worse` a treatment is
    promoted as soon as it is known not to be worse by more than it, without only once it is known to be
    better. What is neither after `most_entities` is rolled back.
    """

    name: str
    data_type: str
    entity: str
    arms: dict[str, Arm]
    primary: Metric
    control: str = "control"
    treatment: str = "treatment"
    salt: str = ""
    share: float = _SHARE
    ramp: tuple[float, ...] = _RAMP
    step_entities: int = 500
    guardrails: tuple[Metric, ...] = ()
    alpha: float = 0.05
    smallest: float = 0.01
    burn_in: int = 200
    most_entities: int = 100_000
    promote_if_not_worse: bool = False
    paired: bool = False
    attribution_ms: int = 3_600_000
    deadline_ms: int = DEFAULT_DEADLINE_MS
    end: datetime | None = None
    alias: str = ""
    sampling: Sampling | msgspec.UnsetType = msgspec.UNSET
    population: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for name in ("name", "data_type", "entity"):
            if not getattr(self, name):
                raise ExperimentError(f"an experiment needs its {name}")
        metrics = [metric.name for metric in (self.primary, *self.guardrails)]
        models = [name for arm in self.arms.values() for name in (arm.model, arm.shadow)]
        named = (self.name, self.data_type, self.entity, self.salt, self.alias)
        for name in (*named, *self.arms, *models, *metrics):
            if excess := excess_of_name(name):
                raise ExperimentError(f"an experiment has the name {excess}")
        if len(metrics) > _MOST_METRICS:
            raise ExperimentError(
                f"{self.name}: {len(metrics)} metrics are named, and {_MOST_METRICS} are the most"
            )
        if self.end is not None and self.end.tzinfo is None:
            raise ExperimentError(f"{self.name}: end needs a time zone, as in 2026-12-01T00:00:00Z")
        if self.end is not None and not 1970 < self.end.year < 9999:
            raise ExperimentError(f"{self.name}: end must lie in the years 1971 to 9998, and is {self.end}")
        self._check_arms()
        self._check_numbers()
        if len(set(metrics)) < len(metrics):
            raise ExperimentError(f"{self.name}: a metric is named twice among primary and guardrails")
        for metric in (self.primary, *self.guardrails):
            _check_metric(self.name, metric)
        if self.primary.kind == "quantile":
            raise ExperimentError(f"{self.name}: a quantile can be a guardrail, and not the primary metric")
        if self.sampling:
            self._check_sampling(self.sampling)

    def _check_numbers(self) -> None:
        for what, value in (("share", self.share), ("alpha", self.alpha)):
            if not 0 < value < 1:
                raise ExperimentError(f"{self.name}: {what} must lie between 0 and 1, and is {value}")
        if self.alpha < _LEAST_ALPHA:
            raise ExperimentError(f"{self.name}: alpha must be {_LEAST_ALPHA:g} or more, and is {self.alpha}")
        steps = self.ramp
        if len(steps) > _MOST_STEPS:
            raise ExperimentError(
                f"{self.name}: the ramp has {len(steps)} steps, and {_MOST_STEPS} are the most"
            )
        if not steps or steps[-1] != 1 or list(steps) != sorted(set(steps)) or steps[0] <= 0:
            said = f"{self.name}: ramp rises to 1, as in [0.1, 0.5, 1.0], and is {list(steps)}"
            raise ExperimentError(said)
        for what in ("step_entities", "most_entities", "burn_in", "attribution_ms"):
            if not 1 <= (value := getattr(self, what)) <= _MOST:
                raise ExperimentError(f"{self.name}: {what} must be from 1 to {_MOST}, not {value}")
        if not isinstance(self.population, msgspec.UnsetType):  # an empty one is set, and none
            try:
                check_population(self.population)
            except PlanError as e:
                raise ExperimentError(f"{self.name}: {e}") from None
        if not (math.isfinite(self.smallest) and self.smallest >= 0):
            raise ExperimentError(f"{self.name}: smallest must be 0 or more, and is {self.smallest}")

    def _check_sampling(self, sampling: Sampling) -> None:
        if self.paired or self.ramp != _RAMP or self.share != _SHARE:
            raise ExperimentError(f"{self.name}: with sampling there are no pairs, no ramp and no share")
        if not 2 <= len(self.compared) <= MOST_ARMS:
            raise ExperimentError(f"{self.name}: with sampling there are from 2 to {MOST_ARMS} arms")
        if not 1 <= sampling.every <= _MOST:
            said = f"sampling.every must be from 1 to {_MOST}, not {sampling.every}"
            raise ExperimentError(f"{self.name}: {said}")
        most = 1 / len(self.compared)
        if not 0 < sampling.least < most:
            said = f"between 0 and {most:.3g} for {len(self.compared)} arms, and is {sampling.least}"
            raise ExperimentError(f"{self.name}: sampling.least must lie {said}")
        for metric in (self.primary, *self.guardrails):
            if metric.kind != "bounded":
                said = f"metric {metric.name!r} is a {metric.kind}: with sampling all are bounded"
                raise ExperimentError(f"{self.name}: {said}")

    def _check_arms(self) -> None:
        for role in self.compared:
            if role not in self.arms:
                known = ", ".join(self.arms)
                raise ExperimentError(f"{self.name}: there is no arm {role!r}; arms are {known}")
        if self.control == self.treatment:
            raise ExperimentError(f"{self.name}: control and treatment are the same arm")
        for title, arm in self.arms.items():
            if sum(map(bool, (arm.model, arm.plan is not None, arm.shadow))) != 1:
                raise ExperimentError(f"{self.name}: arm {title!r} must have one of model, plan and shadow")
            if not 0 <= arm.version < 2**63 or (arm.version and arm.plan is not None):
                raise ExperimentError(f"{self.name}: arm {title!r} has a version that belongs to no model")
            if arm.plan is not None and arm.plan.splits:
                raise ExperimentError(f"{self.name}: the plan of arm {title!r} has an experiment of its own")
            if arm.plan is not None:
                self._check_plan(title, arm.plan)
        if self.arms[self.control].shadow:
            raise ExperimentError(f"{self.name}: the control decides for its records, so it is no shadow")
        if self.paired and not (self.arms[self.control].model and self.arms[self.treatment].shadow):
            raise ExperimentError(f"{self.name}: of pairs the control is a model, the treatment a shadow")
        if self.paired and len(self.ramp) > 1:
            raise ExperimentError(f"{self.name}: a paired experiment has no ramp: say ramp = [1.0]")

    def _check_plan(self, title: str, plan: Plan) -> None:
        """Any arm may get the control's plan, and all of them are one plan."""
        most = (LONGEST_PLAN - _AROUND_ARMS) // len(self.compared)
        try:
            check_plan(plan)
        except PlanError as e:
            raise ExperimentError(f"{self.name}: arm {title!r}: {e}") from None
        if (size := len(write_plan(plan))) > most:
            said = f"the plan of arm {title!r} has {size:,} bytes, and {most:,} are the most"
            raise ExperimentError(f"{self.name}: {said}")

    @property
    def treatments(self) -> tuple[str, ...]:
        """The arms that are compared with the control."""
        if not self.sampling:
            return (self.treatment,)
        return tuple(title for title in self.arms if title != self.control)

    @property
    def compared(self) -> tuple[str, ...]:
        """The control and its treatments: the order of the arms in plans."""
        return (self.control, *self.treatments)

    def promoted(self, title: str) -> str:
        """The treatment that is meant; the only one needs no name. Raises `ExperimentError`."""
        if title in self.treatments:
            return title
        if title or len(self.treatments) > 1:
            said = f"say which arm is promoted, one of {', '.join(self.treatments)}; it was {title!r}"
            raise ExperimentError(f"{self.name}: {said}")
        return self.treatments[0]

    @property
    def part(self) -> tuple[float, float]:
        """Its population, by default all entities."""
        return self.population or (0.0, 1.0)

    @property
    def own_salt(self) -> str:
        """What makes its draws independent of other experiments': the salt, else its name."""
        return self.salt or self.name


def _check_metric(name: str, metric: Metric) -> None:
    where = f"{name}: metric {metric.name!r}"
    if not metric.name:
        raise ExperimentError(f"{name}: a metric has no name")
    if not metric.low < metric.high or not math.isfinite(metric.high - metric.low):
        raise ExperimentError(f"{where}: low must be below high, and they are {metric.low} and {metric.high}")
    if not 0 < metric.q < 1:
        raise ExperimentError(f"{where}: q must lie between 0 and 1, and is {metric.q}")
    if not (math.isfinite(metric.tolerance) and metric.tolerance >= 0):
        raise ExperimentError(f"{where}: tolerance must be 0 or more, and is {metric.tolerance}")
    if metric.kind == "quantile" and metric.better == "higher":
        raise ExperimentError(f'{where}: of durations the lower is better: say better = "lower"')


def check_new(experiment: Experiment) -> None:
    """Raises `ExperimentError` where more of what is a loss would count as better, as a metric says that does
    not say which way is better, where a difference is asked for that bounded values cannot have, for an alias
    that is none, and for one that a promotion could not move. What runs already was started before this was
    asked."""
    _check_differences(experiment)
    if experiment.alias:
        _check_alias(experiment)
    for metric in (experiment.primary, *experiment.guardrails):
        if metric.name in _LOSSES and metric.better == "higher":
            said = f'{experiment.name}: metric {metric.name!r} is a loss: say better = "lower"'
            raise ExperimentError(said)


def _check_alias(experiment: Experiment) -> None:
    if fault := fault_of_alias(experiment.alias):
        raise ExperimentError(f"{experiment.name}: {fault}")
    for title in experiment.treatments:
        arm = experiment.arms[title]
        if not arm.version:
            said = f"the alias {experiment.alias!r} stands for a version, and arm {title!r} names none"
            do = "leave out the alias" if arm.plan is not None else "say its version, or leave out the alias"
            raise ExperimentError(f"{experiment.name}: {said}: {do}")


def _check_differences(experiment: Experiment) -> None:
    asked = []
    if experiment.promote_if_not_worse:  # else `smallest` decides nothing
        asked.append(("smallest", experiment.smallest, experiment.primary))
    asked += [("tolerance", one.tolerance, one) for one in (experiment.primary, *experiment.guardrails)]
    for what, value, metric in asked:
        if metric.kind == "bounded" and value >= metric.high - metric.low:
            said = f"{metric.name!r} lies from {metric.low:g} to {metric.high:g}: no arms differ by more"
            raise ExperimentError(f"{experiment.name}: {what} is {value:g}, and {said}")


def read_experiment(text: str | bytes) -> Experiment:
    """From TOML. Raises `ExperimentError` with what is wrong and where."""
    try:
        raw = text.decode() if isinstance(text, bytes) else text
        return msgspec.convert(tomllib.loads(raw), Experiment)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ExperimentError(f"not TOML: {e}") from None
    except msgspec.ValidationError as e:
        raise ExperimentError(f"not an experiment: {e}") from None
