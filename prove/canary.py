"""How often a canary is judged wrong when it is judged after every micro-batch, and how soon right.

The code that decides is the controller's (`udfs.lifecycle.experiments.deciding`); only entities are made up.
"""

from __future__ import annotations

import math
import statistics
from statistics import NormalDist

import numpy as np

from udfs.lifecycle.experiments.deciding import begin, decide
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric

BATCH = 100
ENTITIES = 10_000
USUAL, WORSE, BETTER = 0.20, 0.12, 0.28


def canary(runs: int, seed: int) -> dict[str, float | int | bool | None]:
    """The figures of `runs` experiments of each kind."""
    rng = np.random.default_rng(seed)
    print(f"{runs} experiments of up to {ENTITIES} entities, judged every {BATCH}, wrong at most in 5 %")
    null = [_run(rng, USUAL, USUAL) for _ in range(runs)]
    worse = [_run(rng, USUAL, WORSE) for _ in range(runs)]
    better = [_run(rng, USUAL, BETTER) for _ in range(runs)]
    ramps = max(runs // 5, 1)
    ramped = [_run(rng, USUAL, WORSE, (0.1, 0.5, 1.0), 3 * ENTITIES) for _ in range(ramps)]
    peeking = sum(_z_test_peeks(rng) for _ in range(runs)) / runs
    wrong = sum(action != "continue" for action, _, _ in null) / runs
    rolled = [entities for action, entities, _ in worse if action == "roll_back"]
    rolled_ramp = [treated for action, _, treated in ramped if action == "roll_back"]
    promoted = [entities for action, entities, _ in better if action == "promote"]
    figures: dict[str, float | int | bool | None] = {
        "experiments": runs,
        "null_wrong": wrong,
        "null_wrong_of_a_z_test_at_every_batch": peeking,
        "harmful_rolled_back": len(rolled) / runs,
        "harmful_median_entities": _median(rolled),
        "harmful_fixed_size_entities": fixed_size(USUAL, WORSE, 0.025, 0.95),
        "harmful_on_a_ramp_rolled_back": len(rolled_ramp) / ramps,
        "harmful_on_a_ramp_median_treated": _median(rolled_ramp),
        "better_promoted": len(promoted) / runs,
        "better_median_entities": _median(promoted),
    }
    held = wrong <= 0.05 and len(rolled) >= 0.95 * runs
    for name, value in figures.items():
        print(f"{name:40} {'none' if value is None else f'{value:.4g}'}")
    return {**figures, "held": held}


def _run(
    rng: np.random.Generator,
    usual: float,
    now: float,
    ramp: tuple[float, ...] = (1.0,),
    entities: int = ENTITIES,
) -> tuple[str, int, int]:
    """The last decision, the entities until then, and those of them that were treated."""
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
    decision = None
    while state.entities < entities:
        share = experiment.share * ramp[state.step]
        treated = rng.random(BATCH) < share
        outcomes = (rng.random(BATCH) < np.where(treated, now, usual)).astype(float)
        all_treated += int(treated.sum())
        decision = decide(experiment, state, treated, {"conversion": outcomes})
        if decision.action != "continue":
            break
    assert decision is not None
    return decision.action, state.entities, all_treated


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
