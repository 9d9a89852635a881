"""Evidence comes when a window closes, so that what is known sooner does not count more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.lifecycle.experiments import ExperimentEvent
from schemas.lifecycle.quality import EvidenceBatch
from tests.experiment_evidence import OF_USERS
from tests.outcome_cases import JUDGING, MemoryStore, batch, outcome, result
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory
from udfs.lifecycle.experiments.declaration import Metric
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.joining import Joining, Terms
from udfs.lifecycle.outcomes.reading import Reader

WINDOW = 100_000
TERMS = Terms(window=WINDOW, grace=0)
BOUGHT = replace(JUDGING, without=0.0)
EQUAL = msgspec.structs.replace(
    OF_USERS, name="e", data_type="wine", entity="customer", primary=Metric("bought"), ramp=(1.0,)
)


class Run:
    """A join, and the evidence that it tells."""

    def __init__(self) -> None:
        self.reader, self.store, self.fates = Reader({"wine": BOUGHT}, 1, 1), MemoryStore(), Fates()

    def take(self, results: list[Any], outcomes: list[Any], reached: int) -> list[EvidenceBatch]:
        joining = Joining(TERMS, self.store, self.fates, 0)
        for delivery in self.reader.results(batch(results)).deliveries.values():
            joining.results(delivery)
        for delivery in self.reader.outcomes(batch(outcomes)).deliveries.values():
            joining.outcomes(delivery)
        joining.close(reached, reached)
        return list(evidence(joining.done().closed, BOUGHT, reached))


def drawn(k: int, at: int, arm: str = "control", step: int = 0) -> Any:
    stamp = {"model": EQUAL.arms[arm].model, "experiments": {"e": {"arm": arm, "step": step}}}
    return result(k, at, 0.5, customer=f"c{k}", stamp=stamp)


def test_a_prediction_counts_once_and_by_the_outcome_in_force_when_its_window_closes() -> None:
    run = Run()
    known = [outcome(1, 200, True, revenue=3.0), outcome(1, 300, False, revenue=4.0)]
    assert not run.take([drawn(1, 100), drawn(2, 100)], known, 50_000)
    (told,) = run.take([], [], WINDOW + 2_000)
    assert dict(zip(told.entities, told.values["bought"], strict=True)) == {"c1": 0.0, "c2": 0.0}
    assert dict(zip(told.entities, told.values["revenue"], strict=True)) == {"c1": 4.0, "c2": None}
    assert not run.take([], [], 10 * WINDOW)


@pytest.mark.parametrize("seed", range(3))
def test_equal_arms_are_not_told_apart_by_how_soon_their_outcomes_are_known(seed: int) -> None:
    """Customers of the treatment buy as often and sooner; that one did not buy is known at the end."""
    rng, count, every = np.random.default_rng(seed), 6_000, 20
    arms = treated(EQUAL, [f"c{k}".encode() for k in range(count)], 0)
    bought = rng.random(count) < 0.2
    delay = np.minimum(rng.exponential(np.where(arms, 0.05, 0.4) * WINDOW), WINDOW - 1).astype(int)
    times = {int(k): int(k * every + delay[k]) for k in np.flatnonzero(bought)}
    controller = Controller(CountedInMemory())
    list(controller.order("wine", "e", write_order(Order("start", EQUAL)), 1, 1))
    run, said = Run(), list[Any]()
    for now in range(0, count * every + 2 * WINDOW, WINDOW // 20):
        fresh = range(now // every, min((now + WINDOW // 20) // every, count))
        results = [drawn(k, k * every, "treatment" if arms[k] else "control") for k in fresh]
        came = [outcome(k, at) for k, at in times.items() if now <= at < now + WINDOW // 20]
        for told in run.take(results, came, now):
            said += controller.evidence(told, now)
    said += controller.on_timer(now)
    (event,) = (one for one in said if isinstance(one, ExperimentEvent))
    assert event.kind == "progress" and event.entities == count, event.reason
