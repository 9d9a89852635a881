"""Calls of models on a thread of their own, given up when they do not come back."""

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


class _Call:
    __slots__ = ("after", "columns", "given_up", "lock", "outcome", "predict")

    def __init__(self, predict: Predict, columns: Columns) -> None:
        self.predict, self.columns = predict, columns
        self.outcome: SimpleQueue[Columns | BaseException] = SimpleQueue()
        self.lock = threading.Lock()
        self.given_up = False
        self.after: Callable[[], None] | None = None


class TimedCalls:
    """One call at a time, for one owner thread, by one thread for as long as calls come back; a new one
    after a call that was given up, whose thread ends when the call does. `seconds` bounds a call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._asked: SimpleQueue[_Call | None] | None = None

    def __call__(self, predict: Predict, columns: Columns) -> Columns | _Call:
        """What `predict` gives, or raises; the call itself where it did not come back."""
        if self._asked is None:
            self._asked = SimpleQueue()
            threading.Thread(target=_work, args=(self._asked,), name="model-calls", daemon=True).start()
        call = _Call(predict, columns)
        self._asked.put(call)
        try:
            outcome = call.outcome.get(timeout=self.seconds)
        except Empty:
            with call.lock:
                if call.outcome.empty():
                    call.given_up = True
                    self._asked.put(None)
                    self._asked = None
                    return call
            outcome = call.outcome.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def close(self) -> None:
        """The thread ends; it is not waited for."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _work(asked: SimpleQueue[_Call | None]) -> None:
    while (call := asked.get()) is not None:
        try:
            outcome: Columns | BaseException = call.predict(call.columns)
        except BaseException as e:  # the owner gets it, whatever it is
            outcome = e
        with call.lock:
            call.outcome.put(outcome)
            after = call.after if call.given_up else None
        del outcome
        if call.given_up and after is not None:
            after()


class TimedModel(LoadedModel):
    """A loaded model whose calls are timed. `unresponsive` counts those of ten minutes that did not come
    back, and further ones while one of them is still under way; from `most` on none is made any more."""

    def __init__(self, model: LoadedModel, calls: TimedCalls, most: int) -> None:
        self.stamp, self.load_report = model.stamp, model.load_report
        self.inputs, self.outputs, self.readings = model.inputs, model.outputs, model.readings
        self._model, self._calls, self._most = model, calls, most
        self._stuck: _Call | None = None
        self._when: list[float] = []
        self.reason = ""

    @property
    def unresponsive(self) -> int:
        return len(self._when)

    @property
    def lost(self) -> bool:
        """Whether it is to be set aside."""
        return self.unresponsive >= self._most

    def predict(self, columns: Columns) -> Columns:
        """As the model's; raises `UnresponsiveError` for a call that does not come back in time."""
        if self.lost:
            raise UnresponsiveError(self.reason, counts=False)
        if self._stuck is not None and self._stuck.outcome.empty():
            raise self._counted(UnresponsiveError("a call before this one has still not come back"))
        self._stuck = None
        try:
            made = self._calls(self._model.predict, columns)
        except UnresponsiveError as e:
            raise self._counted(e) from None
        if isinstance(made, _Call):
            self._stuck = made
            seconds = self._calls.seconds
            raise self._counted(UnresponsiveError(f"a call did not come back within {seconds:g} s"))
        return made

    def close(self) -> None:
        """Close the model, or leave that to the call that it is in. Safe to call twice."""
        stuck = self._stuck
        if stuck is not None:
            with stuck.lock:
                if stuck.outcome.empty():
                    stuck.after = self._close_quietly
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
