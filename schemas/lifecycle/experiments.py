"""What `jobs/experiment.py` says about experiments: what it has decided and by which evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.errors import ExperimentError
from schemas.versioned import read_formatted

FORMAT = 1

Kind = Literal["started", "refused", "progress", "step", "rolled_back", "promoted", "stopped"]


class ArmFigures(msgspec.Struct, frozen=True):
    """What is known of one arm: entities with a value of the primary metric, and the mean of these.

    `model` and `version` as declared; empty and 0 for a plan, or whichever version. `by_others`: records of
    the arm that another model or version answered, since its own was not there. They are no evidence.
    """

    entities: int = 0
    mean: float = 0.0
    model: str = ""
    version: int = 0
    share: float = 0.0
    by_others: int = 0


class ExperimentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON object a message. Times are epoch milliseconds.

    `step` counts from 0, of `steps`, which is 0 where shares follow the evidence; `share`: that of all
    treatments now, of the entities in `population`, which lies in [0, 1). `treatment`: the one that is, or
    may be, promoted. `metric` and `evidence` name what decided, or what is known so far. `harm` and `gain`:
    log evidence of the primary metric, which decide at `harm_at` and `gain_at`; all 0 for a metric without
    bounds, and with sampling. `plan_version`: of the plan that was put in force, named as the experiment, or
    `experiments` for one with a population. `reason`: what a person said, or why an order was refused.
    `alias`: what is to name the promoted model in the registry; `replaced`: the model of another experiment
    that entities in no experiment got until then.
    """

    kind: Kind
    experiment: str
    data_type: str
    at: int
    step: int = 0
    steps: int = 0
    share: float = 0.0
    plan_version: int = 0
    entities: int = 0
    arms: dict[str, ArmFigures] = {}
    metric: str = ""
    evidence: str = ""
    harm: float = 0.0
    harm_at: float = 0.0
    gain: float = 0.0
    gain_at: float = 0.0
    reason: str = ""
    alias: str = ""
    treatment: str = ""
    control: str = ""
    population: tuple[float, float] = (0.0, 1.0)
    replaced: str = ""
    format: int = FORMAT

    @property
    def key(self) -> str:
        """The key of the message: a topic that is compacted keeps the newest of each experiment, and
        beside it the newest refusal of each experiment and data type. No name holds a tab."""
        if self.kind == "refused":
            return "\t".join((self.experiment, self.kind, self.data_type))
        return self.experiment


_LONGEST_REASON = 4000


def write_event(event: ExperimentEvent) -> bytes:
    """As JSON, of a size that a topic takes: a reason may repeat what somebody sent."""
    if len(event.reason) > _LONGEST_REASON:
        event = msgspec.structs.replace(event, reason=f"{event.reason[:_LONGEST_REASON]}...")
    return msgspec.json.encode(event)


def read_event(data: bytes) -> ExperimentEvent:
    """What `write_event` wrote; fields that a newer writer added are passed over.

    Raises `ExperimentError` where `data` is none, or of a newer format.
    """
    return read_formatted(_EVENTS.decode, data, "event of an experiment", FORMAT, ExperimentError)


_EVENTS = msgspec.json.Decoder(ExperimentEvent)
