"""The training command that an alert runs: `python -m demo.lifecycle.train RECORDS OUTCOMES TO`.

It takes the visits from the alert on, whose data are the new ones, with what came of them, and writes the
model's numbers as JSON. What the alert said is in its environment (`millrace on-alert`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from demo.feed import appear
from demo.lifecycle.visits import FIELDS, TARGET, Model, trained
from demo.watch import NewLines

RETRAIN_ON = 1000
"""Visits with their outcomes."""
_LOOK_S = 0.2


def main(records: Path, outcomes: Path, to: Path) -> None:
    began = time.time()
    print(f"alert: {os.environ.get('MILLRACE_ALERT_TEXT', 'run by hand')}", flush=True)
    known: dict[str, list[float]] = {}
    bought: dict[str, bool] = {}
    new = NewLines(Path())
    while len(both := sorted(known.keys() & bought.keys())) < RETRAIN_ON:
        known |= {one["id"]: [one[name] for name in FIELDS] for one in _since(began, new.of(records))}
        bought |= {one["id"]: one[TARGET] for one in _since(began, new.of(outcomes))}
        time.sleep(_LOOK_S)
    model = trained(np.array([known[one] for one in both]), np.array([bought[one] for one in both]))
    numbers = {"about": model.about, "weights": model.weights, "intercept": model.intercept}
    appear(to, json.dumps(numbers).encode())


def read_trained(path: Path, name: str, version: int) -> Model:
    """What `main` wrote."""
    found = json.loads(path.read_text())
    return Model(name, version, found["about"], tuple(found["weights"]), found["intercept"])


def _since(began: float, lines: Iterable[tuple[bytes, float]]) -> Iterator[dict[str, Any]]:
    for line, visible in lines:
        with contextlib.suppress(json.JSONDecodeError):  # a spoiled one
            if visible >= began * 1000:
                yield json.loads(line)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
