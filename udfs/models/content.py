"""From the content of a model that is here to a runtime that has proved that it can score.

These are the steps that a process which may die goes through first, and the loading process after it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from schemas.errors import InputsError, LoadError
from schemas.tensors import Columns
from udfs.models import smoke_test
from udfs.models.composite.loading import fetch_nodes, load_graph
from udfs.models.descriptor import Announcement
from udfs.models.digest import Digest
from udfs.models.load_steps import Load, LoadSteps
from udfs.models.runtimes.base import Artifact, Runtime
from udfs.models.runtimes.catalogue import RUNTIMES

_TRIAL_BATCHES = (1, 3)
_WARM_CALLS = 5
_WARM_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Content:
    """A model's content, fetched and identified: an artifact, or of a graph of models one a node, by name."""

    artifacts: Mapping[str, Artifact]
    digest: Digest


def fetch_content(announcement: Announcement, steps: LoadSteps, scratch: Path) -> Content:
    """Everything that the model is made of. Raises the `ModelError` of the step that failed."""
    if announcement.graph is not None:
        return Content(*fetch_nodes(announcement, steps, scratch))
    artifact, digest = steps.fetch(announcement, scratch)
    return Content({"": artifact}, digest)


def build(announcement: Announcement, steps: LoadSteps, content: Content) -> Runtime:
    """Load what was fetched. Raises the `ModelError` of the step that failed."""
    if announcement.graph is not None:
        return load_graph(announcement, steps, content.artifacts)
    with steps.step("load"):
        wanted = announcement.wanted(steps.policy.fields)
        return steps.load(announcement.model_type, content.artifacts[""], wanted)


def prove(runtime: Runtime, steps: LoadSteps) -> None:
    """Let the runtime show that it scores, and warm it up. Raises the `ModelError` of the step that
    failed."""
    policy, report = steps.policy, steps.report
    with steps.step("load"):
        _check_fields(runtime, policy.fields)
    with steps.step("trial"):
        for count in _TRIAL_BATCHES:
            _try(runtime, policy.trial_rows, count)
    with steps.step("warm-up"):
        for count in policy.warm_up_batches:
            report.warm_up_ms[count] = _warm_up(runtime, policy.trial_rows, count)


def runtime_loader(runtimes: Mapping[str, Load] | None, model_type: str) -> Load:
    known = RUNTIMES if runtimes is None else runtimes
    if model_type not in known:
        raise LoadError(f"there is no runtime for {model_type}; known are {', '.join(known)}")
    # Here and not at the top: TensorFlow takes seconds to import, and few processes need every runtime.
    return importlib.import_module(RUNTIMES[model_type]).load if runtimes is None else runtimes[model_type]


def _check_fields(runtime: Runtime, fields: Sequence[str]) -> None:
    unknown = sorted({name for i in runtime.inputs for name in i.fields} - set(fields)) if fields else []
    if unknown:
        raise InputsError(
            f"the model reads {', '.join(unknown)}, which the records of this type do not have; "
            f"they have {', '.join(fields)}"
        )


def _columns(runtime: Runtime, rows: Sequence[Mapping[str, Any]], count: int) -> Columns:
    if rows:
        return smoke_test.from_rows(runtime.inputs, rows, count)
    # A runtime may know which values its inputs take, such as the categories that a PMML document declares.
    return smoke_test.generated(runtime.inputs, count, getattr(runtime, "valid_values", None))


def _try(runtime: Runtime, rows: Sequence[Mapping[str, Any]], count: int) -> None:
    answer = runtime.predict(_columns(runtime, rows, count))
    smoke_test.check_answer(answer, runtime.outputs, count)


def _warm_up(runtime: Runtime, rows: Sequence[Mapping[str, Any]], count: int) -> float:
    """Median ms of a call at this batch size, without the first, in which memory and kernels are set up."""
    columns = _columns(runtime, rows, count)
    smoke_test.check_answer(runtime.predict(columns), runtime.outputs, count)
    times: list[float] = []
    while len(times) < _WARM_CALLS and sum(times) < _WARM_SECONDS:
        started = time.perf_counter()
        runtime.predict(columns)
        times.append(time.perf_counter() - started)
    return median(times) * 1000
