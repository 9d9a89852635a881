"""Calls of models on threads of their own, given up when they do not come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from schemas.errors import UnresponsiveError
from schemas.tensors import Columns
from udfs.models.loaded_model import LoadedModel

_WITHIN_SECONDS = 600.0

Predict = Callable[[Columns], Columns]


class Call:
    """A call that was asked for: `done` once it has come back, at `ended` of `time.perf_counter`. `until`, of
    `time.monotonic`, it is waited for. `after` runs on its thread when it comes back."""

    __slots__ = ("after", "asked", "columns", "done", "ended", "lock", "outcome", "predict", "until")

    def __init__(self, predict: Predict, columns: Columns, asked: SimpleQueue[Call | None], until: float):
        self.predict, self.columns, self.asked, self.until = predict, columns, asked, until
        self.outcome: SimpleQueue[Columns | BaseException] = SimpleQueue()
        self.lock = threading.Lock()
        self.done = False
        self.ended = 0.0
        self.after: Callable[[], None] | None = None

    def due(self) -> bool:
        """Whether it has come back, or is to be given up."""
        return self.done or time.monotonic() >= self.until


class TimedCalls:
    """Calls for one owner thread. Each is made by a thread that no other call is in: one thread is enough for
    as long as the owner waits for each call. That of a call which is given up ends when the call does.
    `seconds` bounds a call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._idle: list[SimpleQueue[Call | None]] = []

    def begin(self, predict: Predict, columns: Columns) -> Call:
        """A call that is under way when this returns. The owner ends it by `came_back` or `give_up`."""
        if self._idle:
            asked = self._idle.pop()
        else:
            asked = SimpleQueue()
            threading.Thread(target=_work, args=(asked,), name="model-calls", daemon=True).start()
        call = Call(predict, columns, asked, time.monotonic() + self.seconds)
        asked.put(call)
        return call

    def came_back(self, call: Call) -> None:
        """The thread of a call that is done may make others."""
        self._idle.append(call.asked)

    def give_up(self, call: Call) -> bool:
        """Nobody waits for the call any more. False, and nothing happens, where it is done."""
        with call.lock:
            if call.done:
                return False
            call.asked.put(None)
        return True

    def close(self) -> None:
        """The threads end; they are not waited for."""
        for asked in self._idle:
            asked.put(None)
        self._idle.clear()


def _work(asked: SimpleQueue[Call | None]) -> None:
    while (call := asked.get()) is not None:
        try:
            outcome: Columns | BaseException = call.predict(call.columns)
        except BaseException as e:  # the owner gets it, whatever it is
            outcome = e
        call.ended = time.perf_counter()
        with call.lock:
            call.done = True
            call.outcome.put(outcome)
            after = call.after
        del outcome, call
        if after is not None:
            after()


class TimedModel(LoadedModel):
    """A loaded model whose calls are timed. `unresponsive` counts those of ten minutes that did not come
    back, and further ones while one of them is still under way; from `most` on none is made any more."""

    def __init__(self, model: LoadedModel, calls: TimedCalls, most: int) -> None:
        self.stamp, self.load_report = model.stamp, model.load_report
        self.inputs, self.outputs, self.readings = model.inputs, model.outputs, model.readings
        self._model, self._calls, self._most = model, calls, most
        self._last: Call | None = None
        self._when: list[float] = []
        self.reason = ""

    @property
    def unresponsive(self) -> int:
        return len(self._when)

    @property
    def lost(self) -> bool:
        """Whether it is to be set aside."""
        return self.unresponsive >= self._most

    def ask(self, columns: Columns) -> Call:
        """Begin a call, which ends by `answer` or `leave`. Raises `UnresponsiveError` where none is made."""
        if self.lost:
            raise UnresponsiveError(self.reason, counts=False)
        if self._last is not None and not self._last.done:
            raise self._counted(UnresponsiveError("a call before this one has still not come back"))
        self._last = self._calls.begin(self._model.predict, columns)
        return self._last

    def answer(self, call: Call, seconds: float) -> Columns | None:
        """What the model answers, or raises; None where the call is still under way after so long. Raises
        `UnresponsiveError` for one that does not come back in time, and is given up."""
        now = time.monotonic()
        try:
            outcome = call.outcome.get(timeout=max(min(seconds, call.until - now), 0.0))
        except Empty:
            if time.monotonic() < call.until:
                return None
            if self._calls.give_up(call):
                within = self._calls.seconds
                error = UnresponsiveError(f"a call did not come back within {within:g} s")
                raise self._counted(error) from None
            outcome = call.outcome.get()
        self._calls.came_back(call)
        self._last = None  # which has a micro-batch's columns
        if isinstance(outcome, UnresponsiveError):
            raise self._counted(outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def leave(self, call: Call) -> None:
        """Nobody wants the answer any more, nor another one."""
        if not self._calls.give_up(call):
            self._calls.came_back(call)

    def predict(self, columns: Columns) -> Columns:
        """As the model's; raises `UnresponsiveError` for a call that does not come back in time."""
        call = self.ask(columns)
        while (answer := self.answer(call, self._calls.seconds)) is None:
            pass
        return answer

    def close(self) -> None:
        """Close the model, or leave that to the call that it is in. Safe to call twice."""
        if self._last is not None:
            with self._last.lock:
                if not self._last.done:
                    self._last.after = self._close_quietly
                    return
        self._model.close()

    def _close_quietly(self) -> None:
        with suppress(Exception):
            self._model.close()

    def _counted(self, error: UnresponsiveError) -> UnresponsiveError:
        if error.counts:
            now = time.monotonic()
            self._when = [at for at in self._when if now - at < _WITHIN_SECONDS] + [now]
        self.reason = str(error)
        return error
