"""Who races, and what decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demo.plan import Planned

DATA_TYPE = "wine"
LINEAR = Planned(DATA_TYPE, 1, "PMML", "wine-v4.pmml", "logistic regression", name="linear")
SMALL = Planned(DATA_TYPE, 2, "SavedModel", "wine-v1", "softmax of 3 fields", fields=3, name="small")
DEEP = Planned(DATA_TYPE, 3, "frozen graph", "wine-v2.pb", "network 13-8-3", name="deep")
CANDIDATES = (LINEAR, SMALL, DEEP)
"""Versions differ, so that each tells who made a result."""

MODEL_TYPES = ("PMML", "TENSORFLOWSAVED", "TENSORFLOW")
DEADLINE_MS = 250
USUAL_MS, SLOW_MS = 20, 600
"""By how much the calls of the deep model are held up, by the file of `executors.fault_injection`."""

PLANS: Mapping[int, dict[str, Any]] = {
    1: {
        "policy": {"policy": "prefer", "candidates": ["deep", "linear", "small"]},
        "deadline_ms": DEADLINE_MS,
    },
    2: {"policy": {"policy": "first"}, "deadline_ms": DEADLINE_MS},
}
ABOUT_PLANS = {1: "deep if it is in time, else linear, else small", 2: "the first answer"}


def plan_text(version: int) -> str:
    return json.dumps(PLANS[version])
