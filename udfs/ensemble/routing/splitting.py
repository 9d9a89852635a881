"""The arms of experiments: which part of a micro-batch gets which plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codecs.base import Codec
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import Plan, Split, write_plan
from schemas.results.answers import InExperiment
from udfs.ensemble.routing.routing import Entities, Routing
from udfs.ensemble.routing.sticky_hash import draw_place, places, within

_NO_ARM = -1


@dataclass(frozen=True, slots=True)
class Way:
    """How some records are asked about: the plan that decides, as JSON too, and what they are part of."""

    routing: Routing
    plan: bytes
    experiment: InExperiment | msgspec.UnsetType = msgspec.UNSET


class Splitting:
    """A plan as `read_plan` checked it, made ready, with the arms of its experiments where it has some.

    Raises `PlanError` for a rule that is no CEL expression. `warning`: see `Routing`.
    """

    def __init__(self, plan: Plan, codec: Codec, raw_json: bool) -> None:
        self._arms: list[Way] = []
        self._splits: list[tuple[Split, int]] = []  # with the place of its first arm
        for split in plan.splits:
            self._splits.append((split, len(self._arms)))
            for arm in split.arms:
                part = InExperiment(split.name, arm.name, split.step)
                self._arms.append(Way(Routing(arm.plan, codec, raw_json), write_plan(arm.plan), part))
        self._rest = Way(Routing(plan.rest, codec, raw_json), write_plan(plan.rest))
        if self._splits:
            self._entities = Entities(plan.splits[0].entity, codec, raw_json)
        warnings = (way.routing.warning for way in (*self._arms, self._rest))
        self.warning = next(filter(None, warnings), "")

    def parts(self, batch: MicroBatch) -> Iterator[tuple[MicroBatch, Way]]:
        """The micro-batch, or its records of each arm in their order; each record is in one part."""
        if not self._arms:
            yield batch, self._rest
            return
        arms = np.full(len(batch), _NO_ARM)
        good, entities = self._entities.of(batch)
        known = [
            (row, entity) for row, entity in zip(good.tolist(), entities, strict=True) if entity is not None
        ]
        if known:
            arms[[row for row, _ in known]] = self._drawn([entity for _, entity in known], batch.data_type)
        for arm in np.unique(arms).tolist():
            rows = np.flatnonzero(arms == arm).tolist()
            way = self._rest if arm == _NO_ARM else self._arms[arm]
            yield (batch if len(rows) == len(batch) else batch.take(rows)), way

    def _drawn(self, entities: Sequence[bytes], data_type: str) -> NDArray[np.intp]:
        """For each entity the place of its arm in `_arms`, _NO_ARM for one that is in no experiment."""
        arms = np.full(len(entities), _NO_ARM)
        apart = bool(self._splits[0][0].population)
        lie = places(entities, data_type) if apart else np.zeros(len(entities))
        for split, first in self._splits:
            own = np.flatnonzero(within(lie, split.population or (0.0, 1.0)))
            if len(own):
                shares = [arm.share for arm in split.arms]
                arms[own] = first + draw_place([entities[row] for row in own], shares, split.salt)
        return arms
