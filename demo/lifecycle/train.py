"""The training command that an alert runs: `python -m demo.lifecycle.train RECORDS OUTCOMES TO`.

It takes the visits from the alert on, whose data are the new ones, with what came of them, and writes the
model's numbers as JSON. What the alert said is in its environment (`millrace on-alert`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from demo.lifecycle.visits import FIELDS, TARGET, Model, trained
from udfs.io.folder_files import visible_files

RETRAIN_ON = 1000
"""Visits with their outcomes."""
_LOOK_S = 0.2


def main(records: Path, outcomes: Path, to: Path) -> None:
    began = time.time()
    print(f"alert: {os.environ.get('MILLRACE_ALERT_TEXT', 'run by hand')}", flush=True)
    known: dict[str, list[float]] = {}
    bought: dict[str, bool] = {}
    read: set[Path] = set()
    while len(both := sorted(known.keys() & bought.keys())) < RETRAIN_ON:
        for path in visible_files(records):
            if path not in read and path.stat().st_mtime >= began:
                read.add(path)
                known |= {one["id"]: [one[name] for name in FIELDS] for one in _lines(path)}
        for path in visible_files(outcomes):
            if path not in read and path.stat().st_mtime >= began:
                read.add(path)
                bought |= {one["id"]: one[TARGET] for one in _lines(path)}
        time.sleep(_LOOK_S)
    model = trained(np.array([known[one] for one in both]), np.array([bought[one] for one in both]))
    hidden = to.with_name(f".{to.name}")
    hidden.write_text(
        json.dumps({"about": model.about, "weights": model.weights, "intercept": model.intercept})
    )
    hidden.rename(to)


def read_trained(path: Path, name: str, version: int) -> Model:
    """What `main` wrote."""
    found = json.loads(path.read_text())
    return Model(name, version, found["about"], tuple(found["weights"]), found["intercept"])


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # a spoiled one
    return found


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
