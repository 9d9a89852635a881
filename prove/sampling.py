"""How often experiments with Thompson sampling decide wrong, how soon right, and what entities gain by it.

The code that decides is the controller's (`udfs.lifecycle.experiments`); only entities are made up. All means
rise and fall together while an experiment runs, which would fool a comparison of sample means where shares
follow outcomes.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, Sampling
from udfs.lifecycle.experiments.running import Running

BATCH = 100
ENTITIES = 20_000
USUAL, WORSE, BETTER = 0.20, 0.12, 0.28
SWING = 0.1
"""By how much all means rise and fall."""


@dataclass(frozen=True, slots=True)
class Course:
    """`action`: the last one; `promoted`: what was, if anything; `gain`: mean outcome by entity, less what
    equal shares to the end would have given."""

    action: str
    promoted: str
    entities: int
    gain: float
    out: frozenset[str]


def sampling(runs: int, seed: int) -> dict[str, float | int | bool | None]:
    """The figures of `runs` experiments of each kind."""
    rng = np.random.default_rng(seed)
    print(f"{runs} experiments of three arms and up to {ENTITIES} entities, wrong at most in 5 %")
    null = [course(rng, (USUAL, USUAL, USUAL)) for _ in range(runs)]
    mixed = [course(rng, (USUAL, WORSE, BETTER)) for _ in range(runs)]
    worse = [course(rng, (USUAL, WORSE, WORSE)) for _ in range(runs)]
    wrong = sum(one.action != "continue" or bool(one.out) for one in null) / runs
    rolled_back = sum(one.action == "roll_back" for one in worse) / runs
    right = [one for one in mixed if one.promoted == "second"]
    figures: dict[str, float | int | bool | None] = {
        "experiments": runs,
        "null_wrong": wrong,
        "better_promoted": len(right) / runs,
        "better_median_entities": statistics.median(one.entities for one in right) if right else None,
        "better_mean_gain_an_entity": statistics.mean(one.gain for one in mixed),
        "worse_promoted": sum(one.promoted == "first" for one in mixed) / runs,
        "worse_rolled_back": rolled_back,
    }
    for name, value in figures.items():
        print(f"{name:40} {'none' if value is None else f'{value:.4g}'}")
    held = wrong <= 0.05 and len(right) >= 0.95 * runs and rolled_back >= 0.95
    return {**figures, "held": held}


def course(rng: np.random.Generator, means: tuple[float, float, float], entities: int = ENTITIES) -> Course:
    """One experiment to its end, with these means of control, first and second treatment."""
    experiment = Experiment(
        name=f"sampled-{rng.integers(1 << 62)}",
        data_type="wine",
        entity="id",
        arms={title: Arm(model=title) for title in ("control", "first", "second")},
        primary=Metric("conversion"),
        sampling=Sampling(),
        most_entities=10 * ENTITIES,
    )
    running = Running.begun(experiment, 1, 0)
    titles, total, seen = np.array(experiment.compared), 0.0, 0
    assert running.sampled
    while seen < entities:
        level = SWING * np.sin(2 * np.pi * seen / entities)
        shares = list(running.shares.values())
        arms = rng.choice(len(titles), BATCH, p=shares)
        step = np.full(BATCH, running.state.step)
        outcomes = (rng.random(BATCH) < np.array(means)[arms] + level).astype(float)
        decision = running.take(titles[arms], {"conversion": outcomes.tolist()}, step)
        total, seen = total + float((np.array(means)[arms]).sum()), seen + BATCH
        if decision.action != "continue":
            break
    gain = total / seen - statistics.mean(means)
    promoted = running.sampled.best if decision.action == "promote" else ""
    return Course(decision.action, promoted, seen, gain, frozenset(running.sampled.out))
