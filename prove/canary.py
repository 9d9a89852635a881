"""How often a canary is judged wrong when it is judged after every micro-batch, and how soon right.

The code that decides is the controller's (`udfs.lifecycle.experiments.deciding`); only entities are made up.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from udfs.lifecycle.experiments.deciding import begin, decide
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric

BATCH = 100
ENTITIES = 10_000
USUAL, WORSE, BETTER = 0.20, 0.12, 0.28
RAMP, DELAY = (0.1, 0.5, 1.0), 1_000
"""Steps of the treatment's share, and entities that come before an outcome does where they are late."""


def canary(runs: int, seed: int) -> dict[str, float | int | bool | None]:
    """The figures of `runs` experiments of each kind."""
    rng = np.random.default_rng(seed)
    print(f"{runs} experiments of up to {ENTITIES} entities, judged every {BATCH}, wrong at most in 5 %")
    null = [_run(rng, USUAL, USUAL) for _ in range(runs)]
    worse = [_run(rng, USUAL, WORSE) for _ in range(runs)]
    better = [_run(rng, USUAL, BETTER) for _ in range(runs)]
    ramps = max(runs // 5, 1)
    ramped = [_run(rng, USUAL, WORSE, RAMP, 3 * ENTITIES) for _ in range(ramps)]
    peeking = sum(_z_test_peeks(rng) for _ in range(runs)) / runs
    late_null = [_run(rng, USUAL, USUAL, RAMP, 3 * ENTITIES, delay=DELAY) for _ in range(ramps)]
    late = [_run(rng, USUAL, WORSE, RAMP, 3 * ENTITIES, delay=DELAY) for _ in range(ramps)]
    wrong = sum(action != "continue" for action, _, _ in null) / runs
    rolled = [entities for action, entities, _ in worse if action == "roll_back"]
    rolled_ramp = [treated for action, _, treated in ramped if action == "roll_back"]
    promoted = [entities for action, entities, _ in better if action == "promote"]
    rolled_late = [treated for action, _, treated in late if action == "roll_back"]
    late_wrong = sum(action != "continue" for action, _, _ in late_null) / ramps
    figures: dict[str, float | int | bool | None] = {
        "experiments": runs,
        "null_wrong": wrong,
        "null_wrong_of_a_z_test_at_every_batch": peeking,
        "harmful_rolled_back": len(rolled) / runs,
        "harmful_median_entities": _median(rolled),
        "harmful_fixed_size_entities": fixed_size(USUAL, WORSE, 0.025, 0.95),
        "harmful_on_a_ramp_rolled_back": len(rolled_ramp) / ramps,
        "harmful_on_a_ramp_median_treated": _median(rolled_ramp),
        "late_outcomes_null_wrong": late_wrong,
        "late_outcomes_harmful_rolled_back": len(rolled_late) / ramps,
        "late_outcomes_harmful_median_treated": _median(rolled_late),
        "better_promoted": len(promoted) / runs,
        "better_median_entities": _median(promoted),
    }
    held = wrong <= 0.05 and len(rolled) >= 0.95 * runs
    held = held and late_wrong <= 0.05 + _by_chance(ramps) and len(rolled_late) >= 0.95 * ramps
    for name, value in figures.items():
        print(f"{name:40} {'none' if value is None else f'{value:.4g}'}")
    return {**figures, "held": held}


def _run(
    rng: np.random.Generator,
    usual: float,
    now: float,
    ramp: tuple[float, ...] = (1.0,),
    entities: int = ENTITIES,
    *,
    delay: int = 0,
) -> tuple[str, int, int]:
    """The last decision, the entities that it is about, and how many were treated until then.

    `delay`: entities that come between an entity and its outcome, so that evidence of a step of the ramp
    comes when others have begun.
    """
    experiment = Experiment(
        name="canary",
        data_type="wine",
        entity="id",
        arms={"control": Arm(model="wine", version=1), "treatment": Arm(model="wine", version=2)},
        primary=Metric("conversion"),
        ramp=ramp,
        most_entities=10 * ENTITIES,
        step_entities=200,
    )
    state, all_treated = begin(experiment), 0
    decision, waiting = None, deque[tuple[int, NDArray[np.bool_]]]()
    while state.entities < entities:
        treated = rng.random(BATCH) < experiment.share * ramp[state.step]
        all_treated += int(treated.sum())
        waiting.append((state.step, treated))
        if len(waiting) * BATCH <= delay:
            continue
        step, treated = waiting.popleft()
        outcomes = (rng.random(BATCH) < np.where(treated, now, usual)).astype(float)
        decision = decide(experiment, state, treated, {"conversion": outcomes}, step)
        if decision.action != "continue":
            break
    assert decision is not None
    return decision.action, state.entities, all_treated


def _by_chance(runs: int) -> float:
    """By how much the share of so many runs may be above .05, where it is that, in all but 1 % of cases."""
    return NormalDist().inv_cdf(0.99) * math.sqrt(0.05 * 0.95 / runs)


def _median(values: list[int]) -> float | None:
    return statistics.median(values) if values else None


def _z_test_peeks(rng: np.random.Generator) -> bool:
    """Whether a z-test at 5 % that is asked after every batch finds a difference where there is none."""
    treated = rng.random((ENTITIES // BATCH, BATCH)) < 0.5
    x = rng.random(treated.shape) < USUAL
    n1, n0 = treated.sum(axis=1).cumsum(), (~treated).sum(axis=1).cumsum()
    k1, k0 = (x & treated).sum(axis=1).cumsum(), (x & ~treated).sum(axis=1).cumsum()
    pooled = (k1 + k0) / (n1 + n0)
    z = (k1 / n1 - k0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return bool((np.abs(z) > NormalDist().inv_cdf(0.975)).any())


def fixed_size(p: float, q: float, alpha: float, power: float) -> int:
    """Entities of both arms that a one-sided test of two shares needs, asked once, at its end."""
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
    return 2 * math.ceil(z * z * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2)
