"""The verdict: each request once, each score the published model's, features and accuracy as offline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from demo.house.plan import INPUTS, PREDICTED
from demo.house.story import Facts
from demo.house.watch import HouseWatch
from demo.verdict import Verdict
from schemas.results.records import Outcome
from schemas.results.results import DIGEST_DIGITS

TOLERANCE = 1e-9
"""Relative, of accuracies, and of scores by scikit-learn and by the evaluator: one sum in two orders."""


def judge(facts: Facts, watch: HouseWatch, offline: Mapping[str, Any], again: Mapping[str, Any]) -> Verdict:
    """`records` of the verdict are requests; its `figures` are the accuracy online, `mae` and `r2`.

    `offline`: what the workbench trained and computed from the training set; `again`: its scores of the
    assembled requests."""
    prices = watch.prices()
    pairs = [(offline["truth"][str(row)], prices.get(one, math.nan)) for one, row in facts.known.items()]
    mae, r2 = accuracy(pairs)
    figures = {"mae": mae, "r2": r2}
    verdict = Verdict({}, len(facts.known) + len(facts.unlisted), figures=figures)
    outcomes = Counter(one["id"] for one in watch.assembled)
    outcomes.update(one["request"]["id"] for one in watch.expired)
    asked = {*facts.known, *facts.unlisted}
    verdict.count("requests lost", [f"{one} has no outcome" for one in sorted(asked - outcomes.keys())])
    verdict.count("outcomes too many", outcomes.total() - len(asked & outcomes.keys()))
    wrong = {one["id"] for one in watch.assembled} ^ facts.known.keys()
    verdict.count(
        "completed without features, or expired although there were some",
        [f"{one} came out on the wrong side" for one in sorted(wrong & asked)],
    )
    verdict.count("dead letters that should not be", _letters(facts, watch))
    verdict.count("completed requests without exactly one score", _unscored(watch))
    verdict.count("scores that the published model does not give", _other_scores(watch, again))
    verdict.count("training rows that say other than the sales before", offline["differing"])
    verdict.count(
        "features online that differ from the training set's", _other_features(facts, watch, offline)
    )
    verdict.count("scores online that differ from offline", _other_prices(facts, prices, offline))
    same = _close(mae, offline["mae"]) and _close(r2, offline["r2"])
    verdict.count("accuracies that differ online and offline", int(not same))
    return verdict


def accuracy(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean absolute error and R2 of (truth, score) pairs; not a number where one is missing."""
    truths = [truth for truth, _ in pairs]
    mean = math.fsum(truths) / len(truths)
    around = math.fsum((truth - mean) ** 2 for truth in truths)
    left = math.fsum((truth - score) ** 2 for truth, score in pairs)
    return math.fsum(abs(truth - score) for truth, score in pairs) / len(pairs), 1 - left / around


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE)


def _letters(facts: Facts, watch: HouseWatch) -> list[str]:
    """Beside sales that were reported twice and lines that are no requests."""
    twice = sum(letter.code in ("late", "duplicate") for letter in watch.refused)
    others = [
        f"{x.data_type} {x.code}: {x.reason}" for x in watch.refused if x.code not in ("late", "duplicate")
    ]
    others += [f"{x.data_type} {x.code}: {x.reason}" for x in watch.scoring.dead]
    others += [f"a sale reported twice: {twice} letters, not {facts.twice}"] * (twice != facts.twice)
    spoiled = len(watch.no_requests)
    return others + [f"spoiled: {spoiled} letters, not {facts.spoiled}"] * (spoiled != facts.spoiled)


def _unscored(watch: HouseWatch) -> list[str]:
    scored = Counter(one.record["id"] for one in watch.scoring.results if one.outcome is Outcome.SCORED)
    completed = Counter(one["id"] for one in watch.assembled)
    found = (scored - completed) + (completed - scored)
    found.update(one.record["id"] for one in watch.scoring.results if one.outcome is not Outcome.SCORED)
    return [f"{one} has {scored[one]} scores" for one in sorted(found)]


def _other_scores(watch: HouseWatch, again: Mapping[str, Any]) -> list[str]:
    digest = again["digest"][:DIGEST_DIGITS]
    return [
        f"{one.record['id']} has {one.scores} by {one.digest}"
        for one in watch.scoring.results
        if one.digest != digest or not _same(one.scores, again["scores"].get(one.record["id"], {}))
    ]


def _same(scores: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    """Within `TOLERANCE`: a micro-batch of another size may add up in another order, hence the last bit."""
    return scores.keys() == again.keys() and all(_close(value, again[name]) for name, value in scores.items())


def _other_features(facts: Facts, watch: HouseWatch, offline: Mapping[str, Any]) -> list[str]:
    found = []
    for one in watch.assembled:
        online = [float(one[name]) for name in INPUTS]
        stamped = [(stamp["feature"], float(stamp["value"])) for stamp in one["features"]]
        trained = offline["features"].get(str(facts.known.get(one["id"])))
        if online != trained or stamped != list(zip(INPUTS.values(), online, strict=True)):
            found.append(f"{one['id']} has {online}, and in the training set {trained}")
    return found


def _other_prices(facts: Facts, prices: Mapping[str, float], offline: Mapping[str, Any]) -> list[str]:
    expected = {one: offline["scores"][str(row)] for one, row in facts.known.items()}
    return [
        f"{PREDICTED} of {one} is {prices.get(one)}, offline {score}"
        for one, score in expected.items()
        if one not in prices or not _close(prices[one], score)
    ]
