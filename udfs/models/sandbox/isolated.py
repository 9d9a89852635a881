"""A model that runs in a process of its own for good: what it breaks or leaks is its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from schemas.errors import ModelError, PredictError, SandboxError, UnresponsiveError
from schemas.tensors import Columns
from udfs.models.content import Content
from udfs.models.descriptor import Publication
from udfs.models.load_steps import LoadSteps
from udfs.models.runtimes.base import Runtime
from udfs.models.sandbox import wire
from udfs.models.sandbox.columns import MalformedError, SharedBytes, TooSmallError, read, write
from udfs.models.sandbox.keeping import inputs_and_outputs
from udfs.models.sandbox.places import check_size, forked, hand_over, last_answer, timed
from udfs.models.sandbox.processes import Child, ForkServer

_KEEP = "udfs.models.sandbox.keeping:keep"
_FIRST_BYTES = 1 << 20
_MOST_BYTES = 512 << 20
_LONGEST_REASON, _MOST_NOTES = 500, 20


class IsolatedPlace:
    """A `Place` in a process of its own. A process that ends, or is ended because a call of it did not come
    back, is started again up to `restarts` times, in the background. `server` is the caller's to close."""

    def __init__(self, server: ForkServer, call_seconds: float, restarts: int = 3) -> None:
        self._server, self._call_seconds, self._restarts = server, call_seconds, restarts

    def __call__(
        self, publication: Publication, steps: LoadSteps, content: Content, scratch: Path
    ) -> Runtime:
        """Raises the `ModelError` of the step that failed."""

        def start() -> tuple[Child, dict[str, Any]]:
            return self._started(publication, steps, content, scratch)

        with timed(steps):
            runtime = IsolatedRuntime(start, self._call_seconds, self._restarts)
        steps.report.notes += runtime.notes
        return runtime

    def _started(
        self, publication: Publication, steps: LoadSteps, content: Content, scratch: Path
    ) -> tuple[Child, dict[str, Any]]:
        limits = self._server.spec.limits
        child = forked(self._server, _KEEP, scratch, publication)
        try:
            until = time.monotonic() + limits.deadline_seconds
            hand_over(child, publication, steps, content, scratch)
            said = last_answer(child, until, limits.deadline_seconds)
            check_size(said, limits.loaded_bytes)
        except BaseException:
            child.end()
            raise
        return child, said


class IsolatedRuntime:
    """A `Runtime` whose calls go to another process. `start` gives such a process and what it says of the
    model, or raises `ModelError`; so does this."""

    def __init__(
        self, start: Callable[[], tuple[Child, dict[str, Any]]], call_seconds: float, restarts: int
    ) -> None:
        self._start, self._seconds, self._left = start, call_seconds, restarts
        self._lock = threading.Lock()
        self._closed = False
        self._child: Child | None
        self._child, said = start()
        self._memory: tuple[SharedBytes, SharedBytes] | None = None
        self._why = ""
        try:
            self.inputs, self.outputs = inputs_and_outputs(said)
            self.valid_values: Mapping[str, Sequence[Any]] = dict(said["valid"])
            self.ranges = {str(name): (least, most) for name, (least, most) in said["ranges"].items()}
            self.notes = tuple(str(note)[:_LONGEST_REASON] for note in said["notes"][:_MOST_NOTES])
        except (KeyError, TypeError, ValueError) as e:
            self._child.end()
            raise SandboxError(f"the process that keeps it described it by nonsense: {e}") from None

    def predict(self, columns: Columns) -> Columns:
        """Score n records. Raises `PredictError`; `UnresponsiveError` where the process has ended, hangs, or
        is being started again."""
        child = self._child
        if child is None:
            raise UnresponsiveError(self._why or "the model is closed", counts=self._left < 0)
        try:
            answer = self._asked(child, columns)
            if "failed" in answer:
                kind = UnresponsiveError if answer.get("unresponsive") is True else PredictError
                raise kind(str(answer["failed"])[:_LONGEST_REASON])
            assert self._memory is not None
            return read(answer["answer"], self._memory[1])
        except wire.LateError:
            why = f"a call did not come back within {self._seconds:g} s"
        except wire.EndedError:
            why = "the process that keeps the model is gone"
        except (wire.NonsenseError, MalformedError, KeyError) as e:
            why = f"the process that keeps the model answered with nonsense: {e}"
        raise UnresponsiveError(f"{why}; {self._replace(child)}")

    def close(self) -> None:
        """End the process. Safe to call twice."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.end()
        self._drop_memory()

    def _asked(self, child: Child, columns: Columns) -> dict[str, Any]:
        until = time.monotonic() + self._seconds
        if self._memory is None:
            self._share(child, _FIRST_BYTES, _FIRST_BYTES)
        assert self._memory is not None
        try:
            layout = write(columns, self._memory[0])
        except TooSmallError as e:
            self._share(child, e.needed, self._memory[1].size)
            layout = write(columns, self._memory[0])
        wire.say(child.channel, {"predict": layout})
        answer = child.hear(until)
        if "needs" in answer:
            self._share(child, self._memory[0].size, answer["needs"])
            wire.say(child.channel, {"again": True})
            answer = child.hear(until)
        return answer

    def _share(self, child: Child, into: int, out: Any) -> None:
        if not isinstance(out, int) or not 0 < max(into, out) <= _MOST_BYTES:
            raise PredictError(f"a micro-batch of more than {_MOST_BYTES} bytes, in or out")
        self._drop_memory()
        self._memory = tuple(SharedBytes(2 * n if n > _FIRST_BYTES else n) for n in (into, out))  # type: ignore[assignment]
        memory = self._memory
        assert memory is not None
        wire.say(child.channel, {"memory": [m.size for m in memory]})
        try:
            socket.send_fds(child.channel, [b"m"], [m.descriptor for m in memory])
        except OSError as e:
            raise wire.EndedError(str(e)) from None

    def _drop_memory(self) -> None:
        memory, self._memory = self._memory, None
        for one in memory or ():
            one.close()

    def _replace(self, child: Child) -> str:
        """End a process and start another in the background, unless there were enough; what is done."""
        how = child.end()
        self._drop_memory()
        with self._lock:
            self._child = None
            self._left -= 1
            if self._left < 0 or self._closed:
                self._why = f"{how}; it is not started again"
            else:
                self._why = f"{how}; it is being started again"
                threading.Thread(target=self._again, name="model-restart", daemon=True).start()
        return self._why

    def _again(self) -> None:
        try:
            child, _ = self._start()
        except ModelError as e:
            with self._lock:
                self._left, self._why = -1, f"it could not be started again: {e}"
            return
        with self._lock:
            unwanted = self._closed
            if not unwanted:
                self._child = child
        if unwanted:
            with suppress(Exception):
                child.end()
