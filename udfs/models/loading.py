"""Checked loading: from a publication to a model that has proved that it can score.

The steps are fetch, digest, load (in which the runtime checks what the model may do), smoke test and warm-up.
A model that fails one of them raises, leaves nothing behind, and so cannot disturb the one that is serving.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from schemas.errors import LoadError
from udfs.models.content import Content, build, fetch_content, prove, runtime_loader
from udfs.models.descriptor import SERVE, Publication
from udfs.models.load_steps import Load, LoadPolicy, LoadSteps
from udfs.models.loaded_model import LoadedModel, LoadReport, ModelStamp
from udfs.models.runtimes.base import Runtime

__all__ = ["LoadPolicy", "LoadReport", "LoadedModel", "ModelStamp", "Place", "load_model"]

Place = Callable[[Publication, LoadSteps, Content, Path], Runtime]
"""Where a model that has been fetched comes to run, and what it goes through before. Raises `ModelError`."""


def load_model(
    publication: Publication,
    policy: LoadPolicy,
    runtimes: Mapping[str, Load] | None = None,
    place: Place | None = None,
) -> LoadedModel:
    """Take a published model through every step.

    `runtimes` (model type -> `load`) stands in for the modules under `udfs.models.runtimes`. `place`: where
    it comes to run (`udfs.models.sandbox.places`); by default in this process, unchecked by any other.
    Raises the `ModelError` of the step that failed; whatever was not foreseen becomes a `LoadError` that
    names it.
    """
    if publication.operation != SERVE:
        raise LoadError(f"{publication.name!r} is published to {publication.operation}, not to be loaded")
    steps = LoadSteps(policy, partial(runtime_loader, runtimes))
    report = steps.report
    with steps.step("fetch"):
        scratch = Path(tempfile.mkdtemp(prefix="millrace-model-", dir=policy.scratch))
    runtime: Runtime | None = None
    try:
        content = fetch_content(publication, steps, scratch)
        report.size = content.digest.size
        if place is None:
            runtime = build(publication, steps, content)
        else:
            runtime = place(publication, steps, content, scratch)
        prove(publication, runtime, steps)
        stamp = ModelStamp(
            name=publication.name,
            version=publication.version,
            digest=content.digest.sha256,
            data_type=publication.data_type,
            model_type=publication.model_type,
            description=publication.description,
            since=time.time_ns() // 1_000_000,
            signer=publication.signer,
        )
        return LoadedModel(stamp, runtime, scratch, report, publication.readings)
    except BaseException:
        with suppress(Exception):  # the reason why it failed matters more than an untidy end
            if runtime is not None:
                runtime.close()
        shutil.rmtree(scratch, ignore_errors=True)
        raise
