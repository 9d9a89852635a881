"""Loads on threads of their own: records go on being scored meanwhile, and what hangs is given up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from schemas.errors import InconclusiveError, LoadError, ModelError
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import LogEntry

Load = Callable[[Publication], LoadedModel]


@dataclass(frozen=True, slots=True)
class LoadBounds:
    """`threads`: loads at once. `seconds`: what one may take, its check included, before it is given up.
    `close_seconds`: how long closing waits for those that are under way."""

    threads: int = 1
    seconds: float = 180.0
    close_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of one load: `model`, or the `error` that refused it. `seconds` is the time it took."""

    data_type: str
    entry: LogEntry
    model: LoadedModel | None
    error: ModelError | None
    seconds: float


def load_entry(load: Load, data_type: str, entry: LogEntry) -> Loaded:
    """Load in the caller's thread. Never raises: whatever went wrong is the outcome."""
    started = time.perf_counter()
    model, error = None, None
    try:
        model = load(entry.publication())
    except ModelError as e:
        error = e
    except BaseException as e:  # a refused model must not take the job with it, nor its thread
        error = LoadError(f"{type(e).__name__}: {e}")
    return Loaded(data_type, entry, model, error, time.perf_counter() - started)


@dataclass(slots=True, eq=False)
class _Run:
    """A load under way; once it is `given_up` nobody takes its outcome. `due`: monotonic seconds."""

    data_type: str
    entry: LogEntry
    due: float = 0.0
    given_up: bool = False
    thread: threading.Thread | None = field(default=None)


class BackgroundLoader:
    """`submit`, `finished`, `wait` and `close` are for one owner thread. Loads begin in the order in which
    they were submitted; each has a thread, which ends with it."""

    def __init__(self, load: Load, bounds: LoadBounds | None = None) -> None:
        self._load = load
        self._bounds = bounds or LoadBounds()
        self._queue: deque[_Run] = deque()
        self._running: list[_Run] = []
        self._done: deque[Loaded] = deque()
        self._arrived = threading.Condition()
        self.closing = False

    def submit(self, data_type: str, entry: LogEntry) -> None:
        """Queue a load."""
        with self._arrived:
            self._queue.append(_Run(data_type, entry))
            self._begin()

    def finished(self) -> list[Loaded]:
        """The loads that ended since the last call, or were given up. Costs next to nothing when there are
        none."""
        if not self._done and not self._running:
            return []
        with self._arrived:
            self._give_up_overdue()
            done = list(self._done)
            self._done.clear()
        return done

    def wait(self) -> None:
        """Block until nothing is under way, which ends: what hangs is given up."""
        with self._arrived:
            while self._running:
                left = min(run.due for run in self._running) - time.monotonic()
                self._arrived.wait(max(left, 0.0))
                self._give_up_overdue()

    def close(self) -> None:
        """End after the loads under way, or leave those that take too long; models that nobody took are
        closed, those of loads that were left when they return."""
        self.closing = True
        with self._arrived:
            self._queue.clear()
            self._arrived.wait_for(lambda: not self._running, self._bounds.close_seconds)
            for run in self._running:
                run.given_up = True
            self._running.clear()
            done = list(self._done)
            self._done.clear()
        for loaded in done:
            if loaded.model is not None:
                loaded.model.close()

    def _begin(self) -> None:
        while self._queue and len(self._running) < self._bounds.threads and not self.closing:
            run = self._queue.popleft()
            run.due = time.monotonic() + self._bounds.seconds
            run.thread = threading.Thread(target=self._run, args=(run,), name="model-loader", daemon=True)
            self._running.append(run)
            run.thread.start()

    def _give_up_overdue(self) -> None:
        now = time.monotonic()
        for run in [run for run in self._running if run.due <= now]:
            run.given_up = True
            self._running.remove(run)
            seconds = self._bounds.seconds
            error = InconclusiveError(f"it did not come to an end within {seconds:g} s, and was given up")
            self._done.append(Loaded(run.data_type, run.entry, None, error, seconds))
        self._begin()

    def _run(self, run: _Run) -> None:
        loaded = load_entry(self._load, run.data_type, run.entry)
        with self._arrived:
            wanted = not run.given_up
            if wanted:
                self._running.remove(run)
                self._done.append(loaded)
                self._begin()
                self._arrived.notify_all()
        if not wanted and loaded.model is not None:
            with suppress(Exception):
                loaded.model.close()
