"""From evidence to what to do: go on, roll back, or promote, with the evidence that says so.

The probability of any wrong decision is at most `alpha`, however often it is asked: half of it is for
promotion, the other half is shared evenly (Bonferroni) by harm to the primary metric, to each guardrail, and
a mismatch of shares. The decision is a function of the state alone: a state that is restored decides the
same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from udfs.lifecycle.evidence.share_mismatch import ShareTest
from udfs.lifecycle.experiments.assignment import treatment_share
from udfs.lifecycle.experiments.declaration import Experiment, Metric
from udfs.lifecycle.experiments.measured import (
    Measure,
    QuantileMeasure,
    Verdict,
    add_pairs_to,
    add_to,
    measure_for,
)

VERSION = 1


class Decision(msgspec.Struct, frozen=True):
    """`step` of the ramp to be in from now on. `metric` and `evidence` name what decided, or what is
    known."""

    action: Literal["continue", "roll_back", "promote"]
    step: int
    metric: str
    evidence: str
    entities: int


class ExperimentState(msgspec.Struct):
    """What a controller keeps of an experiment. `decided` is final once it is there.
    `treated_in_step`: entities of the treatment with a value of the primary metric.

    `shares`: step -> a test of its own, so that evidence about an earlier step may come late;
    `shares_highest`: the highest log evidence of all steps together so far.
    """

    primary: Measure
    guardrails: dict[str, Measure]
    shares: dict[int, ShareTest] = {}
    shares_highest: float = 0.0
    version: int = VERSION
    step: int = 0
    entities: int = 0
    treated_in_step: int = 0
    decided: Decision | None = None


def begin(experiment: Experiment) -> ExperimentState:
    """Nothing measured yet."""
    margin = -experiment.smallest if experiment.promote_if_not_worse else 0.0
    rest = (experiment.burn_in, max(experiment.most_entities // 4, 1))
    return ExperimentState(
        measure_for(experiment.primary, margin, *rest),
        {metric.name: measure_for(metric, 0.0, *rest) for metric in experiment.guardrails},
    )


def decide(
    experiment: Experiment,
    state: ExperimentState,
    treated: NDArray[np.bool_],
    outcomes: Mapping[str, NDArray[np.float64]],
    step: int | None = None,
    *,
    share: float | None = None,
) -> Decision:
    """Take in entities that were assigned at a step, by default the state's, each once, and say what to do.

    `treated` of shape (n,); `outcomes`: metric name -> values (n,), NaN where an entity has none; `share`: of
    the treatment at that step, by default the ramp's. After a final decision nothing is taken in and the
    decision stays. Raises `ExperimentError` where the primary metric is missing, lengths differ, values do
    not fit their metric, or there is no such step.
    """
    if state.decided is not None:
        return state.decided
    check_outcomes(experiment, outcomes, len(treated))
    step = state.step if step is None else step
    share = treatment_share(experiment, step) if share is None else share
    count = int(treated.sum())
    state.entities += len(treated)
    known = ~np.isnan(outcomes[experiment.primary.name])
    state.treated_in_step += int((treated & known).sum()) if step == state.step else 0
    counts = {"control": len(treated) - count, "treatment": count}
    state.shares.setdefault(step, ShareTest()).add(counts, {"control": 1 - share, "treatment": share})
    mismatch = sum(test.log_value for test in state.shares.values())  # a product of e-processes is one
    state.shares_highest = max(state.shares_highest, mismatch)
    for metric, measure in _measures(experiment, state):
        if metric.name in outcomes:
            add_to(measure, metric, treated, outcomes[metric.name], share=share, step=step)
    return _judged(experiment, state)


def decide_pairs(
    experiment: Experiment,
    state: ExperimentState,
    control: Mapping[str, NDArray[np.float64]],
    treatment: Mapping[str, NDArray[np.float64]],
) -> Decision:
    """As `decide`, of entities with outcomes of both arms: metric name -> values (n,) of each arm."""
    if state.decided is not None:
        return state.decided
    count = len(control.get(experiment.primary.name, ()))
    for outcomes in (control, treatment):
        check_outcomes(experiment, outcomes, count)
    state.entities += count
    name = experiment.primary.name
    known = ~(np.isnan(control[name]) | np.isnan(treatment[name]))
    state.treated_in_step += int(known.sum())
    for metric, measure in _measures(experiment, state):
        if metric.name in control and metric.name in treatment:
            add_pairs_to(measure, metric, control[metric.name], treatment[metric.name])
    return _judged(experiment, state)


def _measures(experiment: Experiment, state: ExperimentState) -> list[tuple[Metric, Measure]]:
    guarded = [(metric, state.guardrails[metric.name]) for metric in experiment.guardrails]
    return [(experiment.primary, state.primary), *guarded]


def check_outcomes(experiment: Experiment, outcomes: Mapping[str, NDArray[np.float64]], count: int) -> None:
    """Raises `ExperimentError` where the primary metric is missing or a column has no n values."""
    if experiment.primary.name not in outcomes:
        raise ExperimentError(f"the outcomes lack the primary metric {experiment.primary.name!r}")
    if wrong := sorted(name for name, values in outcomes.items() if len(values) != count):
        raise ExperimentError(f"{wrong[0]} has {len(outcomes[wrong[0]])} values of {count} entities")


def finished(state: ExperimentState, metric: str, evidence: str) -> Decision:
    """Roll back for a reason that lies outside of the outcomes, unless it is decided already."""
    return state.decided or final(state, "roll_back", metric, evidence)


def harm_alpha(experiment: Experiment) -> float:
    """The part of alpha for one kind of harm: primary metric, each guardrail, and shares."""
    return experiment.alpha / 2 / (2 + len(experiment.guardrails))


def _judged(experiment: Experiment, state: ExperimentState) -> Decision:
    harm, gain = harm_alpha(experiment), experiment.alpha / 2
    if state.shares_highest >= -math.log(harm):
        told = ", ".join(f"{t.counts} where {t.shares} are declared" for t in state.shares.values())
        return final(state, "roll_back", "shares", f"arms have {told}: evidence e^{state.shares_highest:.2f}")
    steps = len(experiment.ramp)
    primary = _verdict(state.primary, experiment.primary, harm, gain, steps)
    if primary.harm:
        return final(state, "roll_back", experiment.primary.name, primary.evidence)
    for metric in experiment.guardrails:
        found = _verdict(state.guardrails[metric.name], metric, harm, gain, steps)
        if found.harm:
            return final(state, "roll_back", metric.name, found.evidence)
    if primary.gain:
        return final(state, "promote", experiment.primary.name, primary.evidence)
    if state.entities >= experiment.most_entities:
        said = f"{experiment.most_entities} entities without evidence of a gain; {primary.evidence}"
        return final(state, "roll_back", "end", said)
    if state.treated_in_step >= experiment.step_entities and state.step + 1 < len(experiment.ramp):
        state.step, state.treated_in_step = state.step + 1, 0
    return Decision("continue", state.step, experiment.primary.name, primary.evidence, state.entities)


def _verdict(measure: Measure, metric: Metric, harm_alpha: float, gain_alpha: float, steps: int) -> Verdict:
    if isinstance(measure, QuantileMeasure):
        return measure.verdict(metric, harm_alpha, steps)
    return measure.verdict(metric, harm_alpha, gain_alpha)


def final(
    state: ExperimentState, action: Literal["continue", "roll_back", "promote"], metric: str, evidence: str
) -> Decision:
    """The decision that stays from now on."""
    state.decided = Decision(action, state.step, metric, evidence, state.entities)
    return state.decided
