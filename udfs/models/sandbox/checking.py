"""What a process that checks or keeps one model does: load it, let it prove itself, and answer.

It runs in a process forked by the fork server, and fetches nothing itself.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from schemas.errors import ModelError
from udfs.models.content import Content, build, prove, runtime_loader
from udfs.models.descriptor import Publication
from udfs.models.load_steps import LoadPolicy, LoadSteps
from udfs.models.memory import peak_resident, resident
from udfs.models.runtimes.base import Runtime
from udfs.models.sandbox import wire

_LONGEST_REASON = 2000
_NICE = 10  # where processors are short the stream has them first


@dataclass(frozen=True, slots=True)
class CheckJob:
    """What is to be loaded: a publication without its content, which is fetched already."""

    publication: Publication
    policy: LoadPolicy
    content: Content


def check(channel: socket.socket, in_force: Sequence[str]) -> None:
    """Take a `CheckJob` through all steps and say what became of it: each step when it begins, and at last
    what it took or `refused`."""
    os.nice(_NICE)
    before = resident()
    job: CheckJob = pickle.loads(wire.receive(channel, 1 << 40))  # noqa: S301 - from our parent
    steps = told_steps(job, channel)
    try:
        runtime = loaded(job, steps)
        prove(job.publication, runtime, steps)
    except (ModelError, MemoryError) as e:
        wire.say(channel, refusal(e))
        return
    used = max(peak_resident() - before, 0)
    wire.say(channel, {"bytes": used, "seconds": steps.report.seconds, "in_force": list(in_force)})


def loaded(job: CheckJob, steps: LoadSteps) -> Runtime:
    """Raises `ModelError`, `MemoryError`."""
    return build(job.publication, steps, job.content)


def told_steps(job: CheckJob, channel: socket.socket) -> LoadSteps:
    """Steps that the other side is told of when they begin."""

    def begun(name: str) -> None:
        wire.say(channel, {"step": name})

    return LoadSteps(job.policy, partial(runtime_loader, None), begun=begun)


def refusal(error: BaseException) -> dict[str, Any]:
    """An error as a message."""
    if isinstance(error, ModelError):
        reason = str(error)[:_LONGEST_REASON]
        return {"refused": type(error).__name__, "step": error.step, "reason": reason}
    return {"refused": "MemoryError", "reason": str(error)[:_LONGEST_REASON]}
