"""What a process that keeps one model for good does: load it, then answer one call after the other."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Sequence
from typing import Any

from schemas.errors import ModelError, PredictError, UnresponsiveError
from schemas.tensors import DType, Input, Output
from udfs.models.memory import peak_resident, resident
from udfs.models.runtimes.base import Runtime
from udfs.models.sandbox import wire
from udfs.models.sandbox.checking import CheckJob, loaded, refusal, told_steps
from udfs.models.sandbox.columns import SharedBytes, TooSmallError, read, write
from udfs.models.sandbox.limits import lift_cpu_limit

_LONGEST_REASON = 500


def keep(channel: socket.socket, in_force: Sequence[str]) -> None:
    """Take a `CheckJob`, load it, describe it, and answer calls until the channel ends.

    A call is `predict` with the layout of its columns; before the first, and where they get longer, comes
    `memory`, with a descriptor each for columns in and out.
    """
    before = resident()
    job: CheckJob = pickle.loads(wire.receive(channel, 1 << 40))  # noqa: S301 - from our parent
    try:
        runtime = loaded(job, told_steps(job, channel))
    except (ModelError, MemoryError) as e:
        wire.say(channel, refusal(e))
        return
    used = max(peak_resident() - before, 0)
    wire.say(channel, {"bytes": used, "in_force": list(in_force), **described(runtime)})
    lift_cpu_limit()
    try:
        _Calls(channel, runtime).answer()
    except wire.EndedError:
        runtime.close()


def described(runtime: Runtime) -> dict[str, Any]:
    """Inputs, outputs, valid values and notes of a runtime as a message."""
    return {
        "inputs": [
            [i.name, i.dtype.value, list(i.shape), list(i.fields), i.optional] for i in runtime.inputs
        ],
        "outputs": [[o.name, o.dtype.value, list(o.shape)] for o in runtime.outputs],
        "valid": {n: list(v) for n, v in (getattr(runtime, "valid_values", None) or {}).items()},
        "ranges": {n: list(r) for n, r in (getattr(runtime, "ranges", None) or {}).items()},
        "notes": list(getattr(runtime, "notes", ())),
    }


def inputs_and_outputs(said: dict[str, Any]) -> tuple[tuple[Input, ...], tuple[Output, ...]]:
    """What `described` wrote. Raises `KeyError`, `TypeError` or `ValueError`."""
    inputs = (
        Input(str(n), DType(d), _shape(s), tuple(map(str, f)), o is True) for n, d, s, f, o in said["inputs"]
    )
    outputs = (Output(str(n), DType(d), _shape(s)) for n, d, s in said["outputs"])
    return tuple(inputs), tuple(outputs)


def _shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(n) for n in numbers)


class _Calls:
    def __init__(self, channel: socket.socket, runtime: Runtime) -> None:
        self._channel, self._runtime = channel, runtime
        self._in: SharedBytes | None = None
        self._out: SharedBytes | None = None
        self._answer: Any = None

    def answer(self) -> None:
        """Raises `wire.EndedError` when there is nobody to answer."""
        while True:
            asked = wire.hear(self._channel)
            if "memory" in asked:
                self._take_memory(asked["memory"])
            elif "again" in asked:
                wire.say(self._channel, self._written())
            else:
                wire.say(self._channel, self._called(asked["predict"]))

    def _take_memory(self, sizes: Sequence[int]) -> None:
        for old in filter(None, (self._in, self._out)):
            old.close()
        _, descriptors, _, _ = socket.recv_fds(self._channel, 1, 2)
        self._in, self._out = (SharedBytes(n, d) for n, d in zip(sizes, descriptors, strict=True))

    def _called(self, layout: Any) -> dict[str, Any]:
        assert self._in is not None
        try:
            self._answer = self._runtime.predict(read(layout, self._in))
        except PredictError as e:
            given_up = isinstance(e, UnresponsiveError)
            return {"failed": str(e)[:_LONGEST_REASON], "unresponsive": given_up}
        except MemoryError:
            return {"failed": "a call needs more memory than the process may have"}
        return self._written()

    def _written(self) -> dict[str, Any]:
        assert self._out is not None
        try:
            return {"answer": write(self._answer, self._out)}
        except TooSmallError as e:
            return {"needs": e.needed}
