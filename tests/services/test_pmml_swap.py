"""A SavedModel is replaced by gradient boosting in PMML that takes missing values, on Kafka."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.results.records import EventKind
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build
from udfs.models.runtimes.base import PartialInput

EXPORT = "made.skl_xgbc_missing_num"
FIELDS = ("age", "income", "hours")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def records(rows: Sequence[dict[str, str]], start: int) -> list[Sent]:
    """An empty cell is null in every other record and absent in the rest."""
    sent = []
    for number, row in enumerate(rows, start):
        values: dict[str, Any] = {name: float(text) for name, text in row.items() if text}
        if number % 2:
            values |= {name: None for name, text in row.items() if not text}
        sent.append(Sent(json.dumps({"id": number, **values}).encode(), partition=number % 4))
    return sent


def test_missing_values_score_as_the_exporting_library_scores_them(
    kafka: KafkaBroker, tmp_path: Path, shared_data: Path
) -> None:
    folder = shared_data / "pmml" / EXPORT
    if not folder.is_dir():
        pytest.skip("the shared exports are not beside the checkout")
    rows, expected = table(folder / "input.csv"), table(folder / "expected.csv")
    whole = [row for row in rows if all(row.values())]
    assert len(whole) < len(rows)
    constant = models.zipped(models.constant_saved_model(tmp_path / "constant", 1.0, width=len(FIELDS)))
    inputs = (PartialInput("x", fields=FIELDS),)
    net = build(
        data_type="wine", name="m", model_type="TENSORFLOWSAVED", version=1, data=constant, inputs=inputs
    )
    boosting = build(
        data_type="wine", name="m", model_type="PMML", version=2, data=(folder / "model.pmml").read_bytes()
    )
    streams = Streams(kafka)

    def served(version: int) -> None:
        wait_until(
            lambda: (EventKind.SERVED, version) in {(e.kind, e.version) for e in streams.events()},
            180,
            lambda: f"version {version} is not served: {streams.events()}",
        )

    def results(count: int) -> None:
        wait_until(lambda: streams.count("results") >= count, 120, lambda: f"not {count} results")

    log = (tmp_path / "job.log").open("w")
    job = subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "serve.py"), *streams.arguments()],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        streams.publish(net)
        served(1)
        streams.send(records(whole, 0))
        results(len(whole))
        streams.publish(boosting)
        served(2)
        streams.send(records(rows, len(whole)))
        results(len(whole) + len(rows))
    finally:
        job.terminate()
        job.wait(60)
        log.close()
    found = {r.record["id"]: r for r in streams.results()}
    assert len(found) == len(whole) + len(rows) and streams.dead_letters() == []
    assert all(found[n].version == 1 and found[n].scores == {"y": 1.0} for n in range(len(whole)))
    for number, wanted in enumerate(expected, len(whole)):
        result = found[number]
        assert (result.version, result.model) == (2, "m")
        assert str(result.scores["predicted_y"]) == wanted["y"]
        for name in ("probability(0)", "probability(1)"):
            assert result.scores[name] == pytest.approx(float(wanted[name]), rel=1e-4)
