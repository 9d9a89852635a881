"""One experiment as its controller keeps it, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent, Kind
from schemas.versioned import read_versioned
from udfs.lifecycle.experiments.assignment import treatment_share
from udfs.lifecycle.experiments.deciding import ExperimentState, begin, harm_alpha
from udfs.lifecycle.experiments.declaration import Experiment, Metric
from udfs.lifecycle.experiments.measured import BoundedMeasure
from udfs.lifecycle.statistics.moments import Moments

VERSION = 1
Floats = NDArray[np.float64]


class Running(msgspec.Struct):
    """`status` is final unless it is `running`. Times are epoch ms.

    `plan_version`: of the plan that was written last; `means`: arm -> the primary metric by entity; `unfit`:
    values that do not fit their metric and were passed over.
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
    version: int = VERSION

    @classmethod
    def begun(cls, experiment: Experiment, plan_version: int, now: int) -> Running:
        return cls(experiment, begin(experiment), now, plan_version, at=now)

    @property
    def runs(self) -> bool:
        return self.status == "running"

    def columns(self, values: Mapping[str, Sequence[float | None]]) -> dict[str, Floats]:
        """The values of the experiment's metrics, NaN where there is none or it does not fit its metric."""
        found = {}
        for metric in (self.experiment.primary, *self.experiment.guardrails):
            if metric.name in values:
                column = np.array(values[metric.name], np.float64)  # None becomes NaN
                unfit = ~np.isnan(column) & ~_fits(metric, column)
                self.unfit += int(unfit.sum())
                found[metric.name] = np.where(unfit, np.nan, column)
        return found

    def count(self, treated: NDArray[np.bool_], primary: Floats) -> None:
        """Take entities into the means of their arms."""
        there = ~np.isnan(primary)
        self._add_means(primary[~treated & there], primary[treated & there])

    def count_pairs(self, control: Floats, treatment: Floats) -> None:
        """Take entities that have a value of each arm into the means of both."""
        there = ~(np.isnan(control) | np.isnan(treatment))
        self._add_means(control[there], treatment[there])

    def _add_means(self, control: Floats, treatment: Floats) -> None:
        for title, values in ((self.experiment.control, control), (self.experiment.treatment, treatment)):
            more = Moments.of(values)
            self.means = {**self.means, title: self.means.get(title, Moments()).merged(more)}

    def event(self, kind: Kind, now: int, **more: Any) -> ExperimentEvent:
        """What is known now."""
        experiment, state = self.experiment, self.state
        share = treatment_share(experiment, state.step) if self.runs else float(self.status == "promoted")
        harm = gain = harm_at = gain_at = 0.0
        if isinstance(state.primary, BoundedMeasure):
            harm, gain = state.primary.harm.highest, state.primary.gain.highest
            harm_at, gain_at = -math.log(harm_alpha(experiment)), -math.log(experiment.alpha / 2)
        shares = {experiment.control: 1 - share, experiment.treatment: share}
        said = {
            "step": state.step,
            "steps": len(experiment.ramp),
            "share": share,
            "plan_version": self.plan_version,
            "entities": state.entities,
            "arms": {title: self._figures(title, part) for title, part in shares.items()},
            "metric": self.metric,
            "evidence": self.evidence + (f"; {self.unfit} values that do not fit" if self.unfit else ""),
            "reason": self.reason,
            "control": experiment.control,
            "treatment": experiment.treatment,
            "alias": experiment.alias,
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

    def _figures(self, title: str, share: float) -> ArmFigures:
        arm, known = self.experiment.arms[title], self.means.get(title, Moments())
        return ArmFigures(int(known.count), known.mean, arm.model or arm.shadow, arm.version, share)


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
    return np.isfinite(values) & ((values >= 0) | (metric.kind != "quantile"))
