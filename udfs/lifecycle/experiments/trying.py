"""What an experiment would make of predictions that are there: who would be in which arm, and how soon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from udfs.ensemble.routing.routing import entity_of
from udfs.lifecycle.experiments.assignment import in_population, shares_of_step, treated
from udfs.lifecycle.experiments.declaration import Experiment


@dataclass(frozen=True, slots=True)
class TriedStep:
    """A step of the ramp, counted from 0, or the first of sampling: entities of treatments among those tried,
    and how long the step takes (ms; None where the predictions have no times)."""

    step: int
    share: float
    treated: int
    takes_ms: float | None


@dataclass(frozen=True, slots=True)
class Tried:
    """Records, those without the entity, entities of the population and `outside` of it, and the steps."""

    records: int
    without: int
    entities: int
    outside: int
    steps: tuple[TriedStep, ...]


def tried(experiment: Experiment, records: Iterable[tuple[Mapping[str, Any], int | None]]) -> Tried:
    """Records with their event times in epoch ms, in any order. New entities are taken to come as evenly as
    all of them did."""
    found: dict[bytes, None] = {}
    count = without = 0
    times: list[int] = []
    for record, at in records:
        count += 1
        entity = entity_of(record.get(experiment.entity))
        if entity is None:
            without += 1
            continue
        found.setdefault(entity)
        if at is not None:
            times.append(at)
    inside = in_population(experiment, list(found)).tolist()
    entities = [entity for entity, is_in in zip(found, inside, strict=True) if is_in]
    span = max(times) - min(times) if times else 0
    every_ms = span / len(entities) if span and entities else None
    steps = []
    for step in range(1 if experiment.sampling else len(experiment.ramp)):
        share = 1 - shares_of_step(experiment, step)[experiment.control]
        needed = experiment.sampling.every if experiment.sampling else experiment.step_entities / share
        took = None if every_ms is None else needed * every_ms
        hit = int(treated(experiment, entities, step).sum()) if entities else 0
        steps.append(TriedStep(step, share, hit, took))
    return Tried(count, without, len(entities), len(found) - len(entities), tuple(steps))
