"""Where workers hand in what they have finished, for the one thread that owns them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from schemas.results.answers import Answer
from udfs.ensemble.execution.job import Job
from udfs.models.background_loader import Loaded

Completion = tuple[Job, Answer] | Loaded


class Completions:
    """`lock` guards all workers of an executor: it is held for moments only, never during a call."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._arrived = threading.Condition(self.lock)
        self._done: deque[Completion] = deque()

    def answer(self, job: Job, answer: Answer) -> None:
        """For a worker that holds the lock."""
        job.done = True
        self._done.append((job, answer))
        self._arrived.notify_all()

    def loaded(self, loaded: Loaded) -> None:
        """For a worker that holds the lock."""
        self._done.append(loaded)
        self._arrived.notify_all()

    def take(self) -> list[Completion]:
        """What was finished since the last call. Costs next to nothing when there is nothing."""
        if not self._done:
            return []
        with self.lock:
            done = list(self._done)
            self._done.clear()
        return done

    def wait(self, jobs: Sequence[Job], ms: float) -> None:
        """Batch until all of these are done, for at most so long."""
        with self.lock:
            self._arrived.wait_for(lambda: all(job.done for job in jobs), max(ms, 0.0) / 1000)

    def wait_for_more(self, ms: float) -> None:
        """Batch until something has ended that nobody has taken yet, for at most so long."""
        with self.lock:
            self._arrived.wait_for(lambda: bool(self._done), ms / 1000)
