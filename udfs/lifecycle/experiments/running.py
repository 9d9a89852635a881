"""One experiment as its controller keeps it, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent, Kind
from schemas.lifecycle.quality import EvidenceBatch
from schemas.plans.plan import Plan, Split
from schemas.versioned import read_versioned
from udfs.lifecycle.experiments.arm_plans import only_model, plan_after, plan_of_arm, split_of_shares
from udfs.lifecycle.experiments.assignment import shares_of_step
from udfs.lifecycle.experiments.deciding import (
    Decision,
    ExperimentState,
    begin,
    decide,
    decide_pairs,
    harm_alpha,
)
from udfs.lifecycle.experiments.declaration import Experiment, Metric
from udfs.lifecycle.experiments.foreign import Foreign, is_own
from udfs.lifecycle.experiments.measured import BoundedMeasure
from udfs.lifecycle.experiments.sampling import SampledArms
from udfs.lifecycle.experiments.together import PLANS
from udfs.lifecycle.statistics.moments import LARGEST, Moments

VERSION = 1
Floats = NDArray[np.float64]


class Running(msgspec.Struct):
    """`status` is final unless it is `running`. Times are epoch ms.

    `plan_version`: of the plan that was written last for it; `means`: arm -> the primary metric by entity;
    `unfit`: values that do not fit their metric, see `_columns`; `sampled`: of an experiment with
    sampling; `others_get`: what entities in no experiment get, where that is not the control's plan.
    `foreign`: of arms whose model was not there.
    """

    experiment: Experiment
    state: ExperimentState
    started: int
    plan_version: int
    status: Literal["running", "promoted", "rolled_back", "stopped"] = "running"
    metric: str = ""
    evidence: str = ""
    reason: str = ""
    at: int = 0
    means: dict[str, Moments] = {}
    unfit: int = 0
    sampled: SampledArms | msgspec.UnsetType = msgspec.UNSET
    others_get: Plan | msgspec.UnsetType = msgspec.UNSET
    foreign: Foreign | msgspec.UnsetType = msgspec.UNSET
    version: int = VERSION

    @classmethod
    def begun(cls, experiment: Experiment, plan_version: int, now: int) -> Running:
        sampled = SampledArms.begun(experiment) if experiment.sampling else msgspec.UNSET
        return cls(experiment, begin(experiment), now, plan_version, at=now, sampled=sampled)

    @property
    def runs(self) -> bool:
        return self.status == "running"

    @property
    def treatment(self) -> str:
        """The arm that is, or may be, promoted."""
        return self.sampled.best if self.sampled else self.experiment.treatment

    @property
    def shares(self) -> dict[str, float]:
        """Of the arms, now."""
        if self.runs:
            step = self.state.step
            return self.sampled.shares[step] if self.sampled else shares_of_step(self.experiment, step)
        now = self.treatment if self.status == "promoted" else self.experiment.control
        return {title: float(title == now) for title in self.experiment.compared}

    def has(self, step: int) -> bool:
        """Whether there was such a step."""
        return step in self.sampled.shares if self.sampled else 0 <= step < len(self.experiment.ramp)

    @property
    def plan_name(self) -> str:
        """Of its plans: its own, or that of all of the data type with populations."""
        return PLANS if self.experiment.population else self.experiment.name

    @property
    def rest(self) -> Plan:
        """What entities in no experiment get: while it runs the control's plan, unless another experiment was
        promoted meanwhile; then what it promotes, if it does."""
        if self.status == "promoted":
            return plan_after(self.experiment, self.status, self.treatment)
        return self.others_get or plan_of_arm(self.experiment, self.experiment.control)

    def split(self) -> Split:
        """Its arms now, while it runs."""
        out = self.sampled.out if self.sampled else ()
        return split_of_shares(self.experiment, self.shares, self.state.step, out)

    def has_split(self, split: Split) -> bool:
        """Whether these are its own arms, at whichever step. With sampling their shares are whatever was
        drawn, and any arm may be out."""
        experiment, out = self.experiment, []
        if self.sampled:
            plans = {arm.name: arm.plan for arm in split.arms}
            if tuple(plans) != experiment.compared:
                return False
            shares = {arm.name: arm.share for arm in split.arms}
            out = [title for title, plan in plans.items() if plan != plan_of_arm(experiment, title)]
        elif self.has(split.step):
            shares = shares_of_step(experiment, split.step)
        else:
            return False
        return split == split_of_shares(experiment, shares, split.step, out)

    def follow(self, split: Split) -> None:
        """Take over the step of a plan that is in force, which `has_split`."""
        if self.sampled:
            self.sampled.shares[split.step] = {arm.name: arm.share for arm in split.arms}
        self.state.step = split.step

    def promote(self, title: str) -> None:
        """See `Experiment.promoted`."""
        found = self.experiment.promoted(title)
        if self.sampled:
            self.sampled.best = found

    def sees(self, batch: EvidenceBatch, row: int) -> tuple[bool, bool]:
        """Whether a record of one of its arms counts, and whether its values do: see `Foreign`."""
        title = batch.arms[row]
        # a treatment that is out gets the control's plan, and is judged no more
        own = bool(self.sampled and title in self.sampled.out) or is_own(self.experiment, batch, row)
        if own and not self.foreign:
            return True, True
        foreign = self.foreign = self.foreign or Foreign()
        all_there = not foreign.away
        foreign.saw(title, own)
        return (own if self.experiment.paired else all_there), own  # of pairs none has a value of one arm

    def take(
        self, titles: NDArray[np.str_], values: Mapping[str, Sequence[float | None]], steps: NDArray[np.int64]
    ) -> Decision:
        """Take in n entities with their arms and the steps at which they were drawn, and say what to do."""
        experiment, state = self.experiment, self.state
        if experiment.paired:
            return self._take_pairs(values, len(titles))
        columns = self._all_columns(values, len(titles))
        for step in np.unique(steps).tolist():
            some = steps == step
            of_step = {name: column[some] for name, column in columns.items()}
            self._count({t: of_step[experiment.primary.name][titles[some] == t] for t in experiment.compared})
            if self.sampled:
                decision = self.sampled.decide(
                    experiment, state, titles[some], of_step, step, means=self.means
                )
            else:
                decision = decide(experiment, state, titles[some] == experiment.treatment, of_step, step)
            if decision.action != "continue":
                break
        return decision

    def _take_pairs(self, values: Mapping[str, Sequence[float | None]], count: int) -> Decision:
        experiment = self.experiment
        shadow, primary = f"{experiment.arms[experiment.treatment].shadow}/", experiment.primary.name
        of_shadow = {name.removeprefix(shadow): v for name, v in values.items() if name.startswith(shadow)}
        control, treatment = self._all_columns(values, count), self._all_columns(of_shadow, count)
        both = ~(np.isnan(control[primary]) | np.isnan(treatment[primary]))
        self._count(
            {experiment.control: control[primary][both], experiment.treatment: treatment[primary][both]}
        )
        return decide_pairs(experiment, self.state, control, treatment)

    def _all_columns(self, values: Mapping[str, Sequence[float | None]], count: int) -> dict[str, Floats]:
        """By metric; the primary one is there, without values where nobody gave any."""
        return {self.experiment.primary.name: np.full(count, np.nan)} | self._columns(values)

    def _columns(self, values: Mapping[str, Sequence[float | None]]) -> dict[str, Floats]:
        """The values of the experiment's metrics, NaN where there is none.

        One beyond the bounds of its metric counts as the bound: were it left out, the worst losses of an arm
        would make it the better one. One that does not fit a metric without bounds is left out.
        """
        found = {}
        for metric in (self.experiment.primary, *self.experiment.guardrails):
            if metric.name in values:
                column = np.array(values[metric.name], np.float64)  # None becomes NaN
                unfit = ~np.isnan(column) & ~_fits(metric, column)
                self.unfit += int(unfit.sum())
                bounded = metric.kind == "bounded"
                fits = np.clip(column, metric.low, metric.high) if bounded else np.nan
                found[metric.name] = np.where(unfit, fits, column)
        return found

    def _count(self, primary: Mapping[str, Floats]) -> None:
        """Take values of the primary metric into the means of their arms."""
        for title, values in primary.items():
            more = Moments.of(values[~np.isnan(values)])
            self.means = {**self.means, title: self.means.get(title, Moments()).merged(more)}

    def event(self, kind: Kind, now: int, **more: Any) -> ExperimentEvent:
        """What is known now."""
        experiment, state = self.experiment, self.state
        shares = self.shares
        harm = gain = harm_at = gain_at = 0.0
        if isinstance(state.primary, BoundedMeasure) and not self.sampled:
            harm, gain = state.primary.harm.highest, state.primary.gain.highest
            harm_at, gain_at = -math.log(harm_alpha(experiment)), -math.log(experiment.alpha / 2)
        said = {
            "step": state.step,
            "steps": 0 if self.sampled else len(experiment.ramp),
            "share": sum(shares[title] for title in experiment.treatments),
            "plan_version": self.plan_version,
            "entities": state.entities,
            "arms": {title: self._figures(title, part) for title, part in shares.items()},
            "metric": self.metric,
            "evidence": "; ".join(filter(None, (self.evidence, *self._lacking()))),
            "reason": self.reason,
            "control": experiment.control,
            "treatment": self.treatment,
            "alias": experiment.alias,
            "population": experiment.part,
            "replaced": only_model(self.others_get) if self.others_get else "",
        }
        return ExperimentEvent(
            kind=kind,
            experiment=experiment.name,
            data_type=experiment.data_type,
            at=now,
            harm=harm,
            harm_at=harm_at,
            gain=gain,
            gain_at=gain_at,
            **{**said, **more},
        )

    def _lacking(self) -> Iterator[str]:
        """What of the evidence is none, so that nobody takes a guardrail for kept that nothing measures."""
        if self.foreign:
            told = ", ".join(f"{count:,} of {title}" for title, count in self.foreign.records.items())
            yield f"no evidence are records that another model or version answered: {told}"
        if self.unfit:
            yield f"{self.unfit} values that do not fit (a bounded metric's count as its bound)"
        states = list(self.sampled.judged.values()) if self.sampled else [self.state]
        measured = {self.experiment.primary.name: [state.primary for state in states]}
        measured |= {m.name: [s.guardrails[m.name] for s in states] for m in self.experiment.guardrails}
        none = [name for name, of in measured.items() if not any(one.entities for one in of)]
        if self.state.entities and none:
            yield f"no entity had a value of {', '.join(none)}"

    def _figures(self, title: str, share: float) -> ArmFigures:
        arm, known = self.experiment.arms[title], self.means.get(title, Moments())
        by_others = self.foreign.records.get(title, 0) if self.foreign else 0
        model = arm.model or arm.shadow
        return ArmFigures(int(known.count), known.mean, model, arm.version, share, by_others)


def write_running(running: Running) -> bytes:
    """Msgpack with its version."""
    return msgspec.msgpack.encode(running)


def read_running(data: bytes) -> Running:
    """What `write_running` wrote. Raises `ExperimentError` for other bytes and for a newer version."""
    return read_versioned(_RUNNING.decode, data, "state of a controller", VERSION, ExperimentError)


_RUNNING = msgspec.msgpack.Decoder(Running)


def _fits(metric: Metric, values: Floats) -> NDArray[np.bool_]:
    if metric.kind == "bounded":
        return (values >= metric.low) & (values <= metric.high)
    return (np.abs(values) <= LARGEST) & ((values >= 0) | (metric.kind != "quantile"))
