"""Checked loading: from an announcement to a model that has proved that it can score.

The steps are fetch, digest, load (in which the runtime checks what the model may do), trial and warm-up. A
model that fails one of them raises, leaves nothing behind, and so cannot disturb the one that is serving.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from schemas.errors import InputsError, LoadError
from schemas.tensors import Columns
from udfs.models import smoke_test
from udfs.models.composite.loading import load_graph
from udfs.models.descriptor import SERVE, Announcement
from udfs.models.load_steps import Load, LoadPolicy, LoadSteps
from udfs.models.loaded_model import LoadedModel, LoadReport, ModelStamp
from udfs.models.runtimes.base import Runtime
from udfs.models.runtimes.catalogue import RUNTIMES

__all__ = ["LoadPolicy", "LoadReport", "LoadedModel", "ModelStamp", "load_model"]

_TRIAL_BATCHES = (1, 3)
_WARM_CALLS = 5
_WARM_SECONDS = 0.5


def load_model(
    announcement: Announcement, policy: LoadPolicy, runtimes: Mapping[str, Load] | None = None
) -> LoadedModel:
    """Take an announced model through every step.

    `runtimes` (model type -> `load`) stands in for the modules under `udfs.models.runtimes`. Raises the
    `ModelError` of the step that failed; whatever was not foreseen becomes a `LoadError` that names it.
    """
    if announcement.operation != SERVE:
        raise LoadError(f"{announcement.name!r} is announced to {announcement.operation}, not to be loaded")
    steps = LoadSteps(policy, partial(_loader, runtimes))
    report = steps.report
    with steps.step("fetch"):
        scratch = Path(tempfile.mkdtemp(prefix="millrace-model-", dir=policy.scratch))
    runtime: Runtime | None = None
    try:
        if announcement.graph is not None:
            runtime, digest = load_graph(announcement, steps, scratch)
        else:
            artifact, digest = steps.fetch(announcement, scratch)
            with steps.step("load"):
                wanted = announcement.wanted(policy.fields)
                runtime = steps.load(announcement.model_type, artifact, wanted)
        report.size = digest.size
        with steps.step("load"):
            _check_fields(runtime, policy.fields)
        with steps.step("trial"):
            for count in _TRIAL_BATCHES:
                _try(runtime, policy.trial_rows, count)
        with steps.step("warm-up"):
            for count in policy.warm_up_batches:
                report.warm_up_ms[count] = _warm_up(runtime, policy.trial_rows, count)
        stamp = ModelStamp(
            name=announcement.name,
            version=announcement.version,
            digest=digest.sha256,
            data_type=announcement.data_type,
            model_type=announcement.model_type,
            description=announcement.description,
            since=time.time_ns() // 1_000_000,
        )
        return LoadedModel(stamp, runtime, scratch, report)
    except BaseException:
        with suppress(Exception):  # the reason why it failed matters more than an untidy end
            if runtime is not None:
                runtime.close()
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _check_fields(runtime: Runtime, fields: Sequence[str]) -> None:
    unknown = sorted({name for i in runtime.inputs for name in i.fields} - set(fields)) if fields else []
    if unknown:
        raise InputsError(
            f"the model reads {', '.join(unknown)}, which the records of this type do not have; "
            f"they have {', '.join(fields)}"
        )


def _loader(runtimes: Mapping[str, Load] | None, model_type: str) -> Load:
    known = RUNTIMES if runtimes is None else runtimes
    if model_type not in known:
        raise LoadError(f"there is no runtime for {model_type}; known are {', '.join(known)}")
    # Here and not at the top: TensorFlow takes seconds to import, and few processes need every runtime.
    return importlib.import_module(RUNTIMES[model_type]).load if runtimes is None else runtimes[model_type]


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
