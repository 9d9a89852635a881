"""Answers that an arm's own model did not make: it is not there (yet), and whoever is answers for it.

They are no evidence for or against the arm, and neither is what the other arms answered meanwhile: the
records of a time in which all is worse would speak against those that were there. That a model is away is
told by the records before, not by the record itself: so no entity is left out for the arm that it is in. Each
time that a model goes away the tests are off by one entity of its arm, which counts without a value.
"""

from __future__ import annotations

import msgspec

from schemas.lifecycle.quality import EvidenceBatch
from udfs.lifecycle.experiments.declaration import Experiment


class Foreign(msgspec.Struct):
    """State. `records`: arm -> how many of its records others answered; `away`: the arms of which the last
    record was such a one."""

    records: dict[str, int] = {}
    away: tuple[str, ...] = ()

    def saw(self, title: str, own: bool) -> None:
        """A record of an arm, answered by its own model or not."""
        if not own:
            self.records[title] = self.records.get(title, 0) + 1
        if own == (title in self.away):
            others = tuple(one for one in self.away if one != title)
            self.away = others if own else (*others, title)


def is_own(experiment: Experiment, batch: EvidenceBatch, row: int) -> bool:
    """Whether the arm's model answered, or was asked in vain: that it was late or failed is evidence.

    Nobody can tell of an arm with a plan of its own, nor of what older jobs wrote.
    """
    if not batch.models:
        return True
    arms, arm = experiment.arms, experiment.arms[batch.arms[row]]
    if experiment.paired and not _is_version(
        arms[experiment.treatment].version, _shadow(experiment, batch, row)
    ):
        return False
    decides = arms[experiment.control] if experiment.paired or arm.shadow else arm
    if not decides.model:
        return True
    return batch.models[row] in ("", decides.model) and _is_version(decides.version, batch.versions[row])


def _is_version(declared: int, said: float) -> bool:
    """Of version 0 nobody knows which it was, or nobody cares."""
    return not declared or not said or float(declared) == float(said)


def _shadow(experiment: Experiment, batch: EvidenceBatch, row: int) -> float:
    versions = batch.values.get(f"{experiment.arms[experiment.treatment].shadow}/version")
    return (versions[row] or 0) if versions else 0
