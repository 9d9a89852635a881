"""Experiments between two models, evidence about made-up entities, and plans of the model stream."""

from __future__ import annotations

import hashlib

import numpy as np

from schemas.lifecycle.quality import EvidenceBatch
from udfs.lifecycle.experiments.assignment import in_population, treated
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import DECIDE, EXPERIMENT, Publication, build

DECLARED = Experiment(
    name="wine-v4",
    data_type="wine",
    entity="customer",
    arms={"control": Arm("old", 3), "treatment": Arm("new", 4)},
    primary=Metric("correct"),
    guardrails=(Metric("latency", "quantile", "lower", q=0.9, tolerance=5.0),),
    ramp=(0.1, 0.5, 1.0),
    step_entities=20,
)

OF_USERS = Experiment(
    name="wine-v4",
    data_type="t",
    entity="user",
    arms={"control": Arm("old"), "treatment": Arm("new")},
    primary=Metric("correct"),
    ramp=(0.1, 0.5, 1.0),
)
"""Of models of any version, as a router or a serving job sees it."""


def evidence(
    first: int, count: int, step: int, treated_right: float, of: Experiment = DECLARED
) -> EvidenceBatch:
    """Entities from a number on, those of the population, in their arms at this step; controls are right in
    80 %."""
    every = [f"c{k}" for k in range(first, first + count)]
    inside = in_population(of, [name.encode() for name in every]).tolist()
    names = [name for name, is_in in zip(every, inside, strict=True) if is_in]
    count = len(names)
    arms = treated(of, [name.encode() for name in names], step)
    right = np.random.default_rng(first).random(count) < np.where(arms, treated_right, 0.8)
    return EvidenceBatch(
        data_type="wine",
        experiment=of.name,
        entities=tuple(names),
        arms=tuple("treatment" if arm else "control" for arm in arms),
        steps=(step,) * count,
        event_times=(1,) * count,
        values={"correct": tuple(right.astype(float).tolist()), "latency": (3.0,) * count},
    )


def published_plan(name: str, version: int, text: bytes, *, force: bool = False) -> Publication:
    """A plan for wine, also one that nothing would build."""
    digest = hashlib.sha256(text).hexdigest()
    more = {"sha256": digest, "operation": DECIDE, "force": force, "plan": text.decode()}
    return Publication(name, "wine", version=version, **more)


VERSION = 1_700_000_000_000
"""Of the order that starts an experiment: its plans count on from it."""


def started(declared: Experiment) -> bytes:
    """The descriptor that starts it."""
    return build(
        data_type=declared.data_type,
        name=declared.name,
        version=VERSION,
        operation=EXPERIMENT,
        experiment=write_order(Order("start", declared)),
    )
