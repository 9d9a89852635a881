"""Loads models on a thread of its own, so that records go on being scored meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from schemas.errors import LoadError, ModelError
from udfs.models.descriptor import Announcement
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import LogEntry

Load = Callable[[Announcement], LoadedModel]


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
        model = load(entry.announcement())
    except ModelError as e:
        error = e
    except Exception as e:  # a refused model must not take the job with it
        error = LoadError(f"{type(e).__name__}: {e}")
    return Loaded(data_type, entry, model, error, time.perf_counter() - started)


class BackgroundLoader:
    """One thread, one load at a time. `submit`, `finished` and `wait` are for one owner thread."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._asked: SimpleQueue[tuple[str, LogEntry] | None] = SimpleQueue()
        self._done: deque[Loaded] = deque()
        self._arrived = threading.Condition()
        self._under_way = 0
        self.closing = False
        self._thread: threading.Thread | None = None

    def submit(self, data_type: str, entry: LogEntry) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)
            self._thread.start()
        with self._arrived:
            self._under_way += 1
        self._asked.put((data_type, entry))

    def finished(self) -> list[Loaded]:
        """The loads that ended since the last call. Costs next to nothing when there are none."""
        if not self._done:
            return []
        with self._arrived:
            done = list(self._done)
            self._done.clear()
        return done

    def wait(self) -> None:
        """Block until nothing is under way."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._under_way == 0)

    def close(self) -> None:
        """End the thread after the load it is at; models that nobody took are closed."""
        self.closing = True
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None
        for loaded in self.finished():
            if loaded.model is not None:
                loaded.model.close()

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None and not self.closing:
            loaded = load_entry(self._load, *asked)
            with self._arrived:
                self._done.append(loaded)
                self._under_way -= 1
                self._arrived.notify_all()
