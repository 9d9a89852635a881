"""Models, events and statistics as a registry is told of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent
from schemas.lifecycle.quality import ALL, QualityRecord
from schemas.results.records import EventKind, ModelEvent, ModelToServeStats
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.exchange import quality_record
from udfs.lifecycle.quality.windows import QualityKey
from udfs.stores.registry.model_records import Metric, ModelColumn, RegisteredModel, TrainedOn


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def registered(version: int = 3, **more: Any) -> RegisteredModel:
    told: dict[str, Any] = {
        "data_type": "wine",
        "name": "forest",
        "version": version,
        "digest": digest(f"forest {version}"),
        "model_type": "PMML",
        "created": version * 1000,
        "publisher": "ada",
        "inputs": (ModelColumn("x", "float32", (2,), ("a", "b")),),
        "outputs": (ModelColumn("y", "float64"),),
        "training_set": TrainedOn("s3://sets/wine", digest("set"), ("houses_v1",)),
        "metrics": (Metric("accuracy", 0.5 + version / 100, "holdout", 7),),
        "tags": {"team": "red"},
    }
    return RegisteredModel(**{**told, **more})


def event(kind: EventKind, at: int, version: int = 3, **more: Any) -> ModelEvent:
    told: dict[str, Any] = {
        "kind": kind,
        "data_type": "wine",
        "name": "forest",
        "version": version,
        "digest": digest(f"forest {version}"),
        "at": at,
        "subtask": 0,
    }
    return ModelEvent(**{**told, **more})


def stats(since: int, at: int, version: int = 3, **more: Any) -> ModelToServeStats:
    told: dict[str, Any] = {
        "name": "forest",
        "description": "",
        "data_type": "wine",
        "model_type": "PMML",
        "version": version,
        "digest": digest(f"forest {version}"),
        "since": since,
        "at": at,
        "subtask": 0,
        "usage": at - since,
        "batches": 1,
        "failures": 0,
        "duration_ms": 2.0,
        "min_ms": 2.0,
        "max_ms": 2.0,
        "p50_ms": 2.0,
        "p99_ms": 2.0,
    }
    return ModelToServeStats(**{**told, **more})


def quality(at: int, right: int, wrong: int, version: int = 3, **more: Any) -> QualityRecord:
    """Of two classes, so many of them right and wrong, and as many without an outcome."""
    sums = ClassificationSums()
    sums.add(np.full(right + wrong, 0.75), np.arange(right + wrong) < right, right + wrong)
    told = {"window": ALL, "data_type": "wine", "model": "forest", "version": version}
    return quality_record(QualityKey(**{**told, **more}), sums, 300_000, at)


def experiment_event(kind: Any, at: int, **more: Any) -> ExperimentEvent:
    """Of version 3 against version 4."""
    arms = {"old": ArmFigures(90, 0.8, "forest", 3, 0.5), "new": ArmFigures(91, 0.7, "forest", 4, 0.5)}
    told = {"experiment": "w4", "data_type": "wine", "arms": arms, "control": "old", "treatment": "new"}
    return ExperimentEvent(**{**told, "kind": kind, "at": at, **more})
