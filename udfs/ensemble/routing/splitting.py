"""The arms of an experiment: which part of a micro-batch gets which plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from schemas.codecs.base import Codec
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import Plan, Split, write_plan
from schemas.results.answers import InExperiment
from udfs.ensemble.routing.routing import Entities, Routing
from udfs.ensemble.routing.sticky_hash import draw

_NO_ARM = -1


@dataclass(frozen=True, slots=True)
class Way:
    """How some records are asked about: the plan that decides, as JSON too, and what they are part of."""

    routing: Routing
    plan: bytes
    experiment: InExperiment | msgspec.UnsetType = msgspec.UNSET


class Splitting:
    """A plan as `read_plan` checked it, made ready, with the arms of its experiment where it has one.

    Raises `PlanError` for a rule that is no CEL expression. `warning`: see `Routing`.
    """

    def __init__(self, plan: Plan, codec: Codec, raw_json: bool) -> None:
        self._arms: list[Way] = []
        if not isinstance(plan.experiment, Split):
            self._whole = Way(Routing(plan, codec, raw_json), write_plan(plan))
            self.warning = self._whole.routing.warning
            return
        split = self._split = plan.experiment
        for arm in split.arms:
            routing = Routing(arm.plan, codec, raw_json)
            part = InExperiment(split.name, arm.name, split.step)
            self._arms.append(Way(routing, write_plan(arm.plan), part))
        self._whole = Way(self._arms[0].routing, self._arms[0].plan)
        self._shares = {str(at): arm.share for at, arm in enumerate(split.arms)}
        self._entities = Entities(split.entity, codec, raw_json)
        self.warning = next((way.routing.warning for way in self._arms if way.routing.warning), "")

    def parts(self, batch: MicroBatch) -> Iterator[tuple[MicroBatch, Way]]:
        """The micro-batch, or its records of each arm in their order; each record is in one part."""
        if not self._arms:
            yield batch, self._whole
            return
        arms = np.full(len(batch), _NO_ARM)
        good, entities = self._entities.of(batch)
        known = [
            (row, entity) for row, entity in zip(good.tolist(), entities, strict=True) if entity is not None
        ]
        if known:
            arms[[row for row, _ in known]] = draw(
                [entity for _, entity in known], self._shares, self._split.salt
            )
        for arm in np.unique(arms).tolist():
            rows = np.flatnonzero(arms == arm).tolist()
            way = self._whole if arm == _NO_ARM else self._arms[arm]
            yield (batch if len(rows) == len(batch) else batch.take(rows)), way
