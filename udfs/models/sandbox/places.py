"""Where models come to run: here, once a process that may die has found them good."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import schemas.errors
from schemas.errors import InconclusiveError, ModelError, ProcessEndedError, QuotaError
from udfs.models.content import Content, build
from udfs.models.descriptor import Publication
from udfs.models.load_steps import LoadSteps
from udfs.models.runtimes.base import Runtime
from udfs.models.runtimes.catalogue import RUNTIMES
from udfs.models.sandbox import wire
from udfs.models.sandbox.checking import CheckJob
from udfs.models.sandbox.processes import Child, ForkServer

_TENSORFLOW = "udfs.models.runtimes.tensorflow.session:configured_tensorflow"
_TREE_LOOPS = "udfs.models.runtimes.pmml.compiler.tree_kernels:_loops"
_CHECK = "udfs.models.sandbox.checking:check"
_ERRORS: Mapping[str, type[ModelError]] = {
    name: kind
    for name, kind in vars(schemas.errors).items()
    if isinstance(kind, type) and issubclass(kind, ModelError)
}
_NO_STEP = "check"
_OWN = "child"
_LONGEST_REASON, _LONGEST_STEP = 2000, 40  # of what the other process says


class CheckedPlace:
    """A `Place` in this process, after a check in another one. `server` is the caller's to close."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server

    def __call__(
        self, publication: Publication, steps: LoadSteps, content: Content, scratch: Path
    ) -> Runtime:
        """Raises the `ModelError` of the step that failed, there or here."""
        limits = self._server.spec.limits
        with timed(steps):
            child = forked(self._server, _CHECK, scratch, publication)
            try:
                until = time.monotonic() + limits.deadline_seconds
                hand_over(child, publication, steps, content, scratch)
                check_size(last_answer(child, until, limits.deadline_seconds), limits.loaded_bytes)
            finally:
                child.end()
                shutil.rmtree(scratch / _OWN, ignore_errors=True)
        return build(publication, steps, content)


@contextmanager
def timed(steps: LoadSteps) -> Iterator[None]:
    """Count the time as that of the step `check`; errors keep the step that they name."""
    started = time.perf_counter()
    try:
        yield
    finally:
        steps.report.seconds[_NO_STEP] = time.perf_counter() - started


def forked(server: ForkServer, function: str, scratch: Path, publication: Publication) -> Child:
    """A process that may read `scratch` and write its folder `child` only, with the modules of the model's
    types at hand."""
    own = scratch / _OWN
    own.mkdir(exist_ok=True)
    types = {publication.model_type}
    if publication.graph is not None:
        types = {node.model_type for node in publication.graph.nodes if not node.combine}
    modules = [RUNTIMES[name] for name in sorted(types) if name in RUNTIMES]
    if any(".tensorflow." in module for module in modules):
        modules.insert(0, _TENSORFLOW)
    if any(".pmml." in module for module in modules):
        modules.append(_TREE_LOOPS)
    return server.fork(function, readable=[str(scratch)], writable=[str(own)], modules=modules)


def hand_over(
    child: Child, publication: Publication, steps: LoadSteps, content: Content, scratch: Path
) -> None:
    """Send the `CheckJob`. Raises `InconclusiveError`."""
    own = scratch / _OWN
    artifacts = {}
    for name, artifact in content.artifacts.items():
        (own / name).mkdir(exist_ok=True)
        artifacts[name] = replace(artifact, scratch=own / name)
    # the content travels as the artifacts; credentials stay here
    bare = replace(publication, data=None, location=None)
    policy = replace(steps.policy, roots=(), scratch=str(own), s3=type(steps.policy.s3)())
    job = CheckJob(bare, policy, Content(artifacts, content.digest))
    try:
        child.send(pickle.dumps(job))
    except wire.EndedError:
        raise died(child, _NO_STEP) from None


def last_answer(child: Child, until: float, seconds: float) -> dict[str, Any]:
    """What it says when it has done all steps. Raises the `ModelError` that it says, or
    `InconclusiveError` with the step at which it ended, hung or ran out of something."""
    step = _NO_STEP
    while True:
        try:
            said = child.hear(until)
        except wire.LateError:
            child.end()
            raise _inconclusive(step, f"it did not come to an end within {seconds:g} s") from None
        except wire.EndedError:
            raise died(child, step) from None
        except wire.NonsenseError as e:
            child.end()
            raise _inconclusive(step, f"the process that ran it sent {e}") from None
        if "refused" in said:
            raise _refusal(said, step)
        if "step" not in said:
            return said
        step = str(said["step"])[:_LONGEST_STEP]


def check_size(said: Mapping[str, Any], most: int) -> None:
    """Raises `QuotaError` where the loaded model takes more than `most` bytes, or does not say."""
    used = said.get("bytes")
    if not isinstance(used, int) or used > most:
        raise _at("load", QuotaError(f"it takes {used} bytes of memory, where {most} are the most"))


def died(child: Child, step: str) -> ModelError:
    """`ProcessEndedError` where the model ended its process, `InconclusiveError` where something else did."""
    said = f"the process that ran it is gone: {child.end()}"
    return _at(step, ProcessEndedError(said) if child.ended_itself else InconclusiveError(said))


def _inconclusive(step: str, reason: str) -> ModelError:
    return _at(step, InconclusiveError(reason))


def _at(step: str, error: ModelError) -> ModelError:
    error.step = step
    return error


def _refusal(said: Mapping[str, Any], step: str) -> ModelError:
    reason = str(said.get("reason", ""))[:_LONGEST_REASON]
    kind = _ERRORS.get(str(said["refused"]))
    if kind is None:
        return _at(step, QuotaError(f"it needs more memory than it may have: {reason}".rstrip(": ")))
    return _at(str(said.get("step", step))[:_LONGEST_STEP], kind(reason))
