"""One candidate's calls, one at a time on a thread of its own, and what is done about stuck ones."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from schemas.results.answers import Answer, Reason
from udfs.ensemble.execution.clock import Clock
from udfs.ensemble.execution.completions import Completions
from udfs.ensemble.execution.job import Job
from udfs.models.background_loader import Loaded
from udfs.models.loaded_model import LoadedModel

_MOST_QUEUED = 256  # deadlines bound the queue; this bounds it where they are long or a call's length unknown
_SMOOTHING = 0.3
_JOIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CallLimits:
    """`patience_ms`: how long an executor waits for prompt candidates. `call_timeout_ms`: how long a call may
    take before it is abandoned, if its deadline is over too. `max_abandoned`: abandoned threads of one
    candidate. `load_ms`: how long the load of a fresh instance may take before it is abandoned. `set_aside`:
    so many calls abandoned within ten minutes set the candidate aside."""

    patience_ms: float = 5.0
    call_timeout_ms: float = 5000.0
    max_abandoned: int = 2
    load_ms: float = 180_000.0
    set_aside: int = 5


@dataclass(frozen=True, slots=True)
class AbandonedCall:
    """A call that was abandoned. `model` was called, `job` asked for it; None where that was answered before.

    `ms`: how long the call has lasted. `lost`: the candidate needs a fresh instance. `dropped`: jobs that
    waited behind it.
    """

    model: LoadedModel
    job: Job | None
    ms: float
    lost: bool
    dropped: list[Job]


@dataclass(slots=True, eq=False)
class _Run:
    """What one thread is at: a job, or a load. `since` is when it began, in steady ms."""

    job: Job | None = None
    model: LoadedModel | None = None
    load: Callable[[], Loaded] | None = None
    since: float = 0.0
    answered: bool = False


class Worker:
    """All methods are for the one owner thread. The worker closes the models it was told to use, each when
    no call is in it any more. `evaluate` never raises.

    `stuck` counts abandoned threads that have not returned, `abandoned` all that there were.
    """

    def __init__(
        self,
        name: str,
        evaluate: Callable[[Job, LoadedModel], Answer],
        completions: Completions,
        limits: CallLimits,
        clock: Clock,
    ) -> None:
        self._name, self._evaluate, self._completions = name, evaluate, completions
        self._limits, self._clock = limits, clock
        self._lock = completions.lock
        self._news = threading.Condition(self._lock)
        self._queue: deque[Job] = deque()
        self._run: _Run | None = None
        self._thread: threading.Thread | None = None
        self._load: Callable[[], Loaded] | None = None
        self._ends = False  # the thread has nothing to wait for
        self._closed = False
        self._typical_ms = 0.0
        self.model: LoadedModel | None = None
        self.stuck = self.abandoned = 0

    def use(self, model: LoadedModel | None) -> list[Job]:
        """Score with this model from the next call on. Without one: returns the jobs to be declined."""
        with self._lock:
            if model is not None and model is self.model:
                return []
            old, self.model, self._load = self.model, model, None
            self._ends = model is None
            run = self._run
            called = run is not None and run.model is old
            if run is not None and run.load is not None and self.stuck < self._limits.max_abandoned:
                self._abandon()  # a load that nobody waits for any more, and that may never end
            dropped = [] if model is not None else list(self._queue)
            if model is None:
                self._queue.clear()
            self._typical_ms = 0.0
            self._wake()
        if old is not None and not called:
            _close(old)
        return dropped

    def reload(self, load: Callable[[], Loaded]) -> None:
        """Run a load on the thread; its outcome goes to the completions."""
        with self._lock:
            self._load, self._ends = load, False
            self._wake()

    def submit(self, job: Job) -> Reason | None:
        """Queue a job, or say why it has no chance."""
        now = self._clock.epoch()
        with self._lock:
            run = self._run
            if self.model is None or (run is not None and run.load is not None):
                return Reason.LOADING
            ahead = float(len(self._queue))
            if run is not None and run.job is not None:
                if run.answered:
                    return Reason.TOO_MANY_ABANDONED
                if run.job.over(now):
                    return Reason.OCCUPIED
                elapsed = self._clock.steady() - run.since
                ahead += max(1 - elapsed / self._typical_ms, 0) if self._typical_ms else 0
                job.prompt = False
            else:
                # An idle worker takes any job, else a model that was slow once would never be tried again.
                job.prompt = not self._queue and self._typical_ms <= self._limits.patience_ms
            busy = bool(self._queue) or (run is not None and run.job is not None)
            hopeless = now + (ahead + 1) * self._typical_ms > job.request.deadline
            if busy and (hopeless or len(self._queue) >= _MOST_QUEUED):
                return Reason.OCCUPIED
            self._queue.append(job)
            self._wake()
        return None

    def expired(self) -> list[Job]:
        """Take the jobs out of the queue whose deadline is over: a stuck thread will not get to them."""
        now = self._clock.epoch()
        with self._lock:
            late = [job for job in self._queue if job.over(now)]
            if late:
                self._queue = deque(job for job in self._queue if job not in late)
        return late

    def abandon_overdue(self) -> AbandonedCall | None:
        """Abandon a call that has outlasted both its timeout and its deadline; None where there is none."""
        now, epoch = self._clock.steady(), self._clock.epoch()
        with self._lock:
            run = self._run
            if run is None or run.job is None or run.model is None:
                return None
            if now - run.since <= self._limits.call_timeout_ms or not run.job.over(epoch):
                return None
            may_abandon = self.stuck < self._limits.max_abandoned
            if run.answered and not may_abandon:
                return None
            job, run.answered = None if run.answered else run.job, True
            lost = may_abandon and run.model is self.model
            dropped: list[Job] = []
            if lost or not may_abandon:
                dropped = list(self._queue)
                self._queue.clear()
            if lost:
                self.model = None
            if may_abandon:
                self.abandoned += 1
                self._abandon()
                self._wake()
        return AbandonedCall(run.model, job, now - run.since, lost, dropped)

    def give_up_load(self) -> bool:
        """Whether a load has taken too long, and has been given up: its outcome will not come."""
        with self._lock:
            run = self._run
            if run is None or run.load is None or self.stuck >= self._limits.max_abandoned:
                return False
            if self._clock.steady() - run.since <= self._limits.load_ms:
                return False
            self._abandon()
        return True

    def close(self) -> None:
        """Close the model, or leave that to the call it is in. An idle thread has ended on return."""
        with self._lock:
            self._closed = True
        self.use(None)
        with self._lock:
            thread = None if self._run is not None and (self._run.job or self._run.load) else self._thread
        if thread is not None:
            thread.join(_JOIN_SECONDS)

    def _abandon(self) -> None:
        self.stuck += 1
        self._run = self._thread = None
        self._typical_ms = 0.0

    def _wake(self) -> None:
        if self._run is None and (self._queue or self._load is not None):
            self._run = _Run()
            self._thread = threading.Thread(
                target=self._work, args=(self._run,), name=f"candidate-{self._name}", daemon=True
            )
            self._thread.start()
        self._news.notify_all()

    def _work(self, run: _Run) -> None:
        while self._take(run):
            if run.load is not None:
                self._finish_load(run, run.load())
            else:
                self._call(run)

    def _take(self, run: _Run) -> bool:
        with self._lock:
            while self._run is run:
                run.since = self._clock.steady()
                if self._load is not None:
                    run.load, self._load = self._load, None
                    return True
                if self._queue and self.model is not None:
                    run.job, run.model, run.answered = self._queue.popleft(), self.model, False
                    return True
                if self._ends:
                    self._run = None
                    return False
                self._news.wait()
        return False

    def _call(self, run: _Run) -> None:
        job, model = run.job, run.model
        assert job is not None and model is not None
        late = job.over(now := self._clock.epoch())
        answer = job.unscored(Reason.LATE_IN_QUEUE, now) if late else self._evaluate(job, model)
        with self._lock:
            run.job = run.model = None
            current = self._run is run
            if not current:
                self.stuck -= 1
            else:
                if not late and model is self.model:
                    self._learn(self._clock.steady() - run.since)
                if not run.answered:
                    self._completions.answer(job, answer)
            obsolete = not current or model is not self.model
        if obsolete:
            _close(model)

    def _learn(self, ms: float) -> None:
        known = self._typical_ms
        self._typical_ms = known + _SMOOTHING * (ms - known) if known else ms

    def _finish_load(self, run: _Run, loaded: Loaded) -> None:
        with self._lock:
            run.load = None
            current = self._run is run
            if not current:
                self.stuck -= 1
            wanted = current and not self._closed
            if wanted:
                self._completions.loaded(loaded)
        if not wanted and loaded.model is not None:
            _close(loaded.model)


def _close(model: LoadedModel) -> None:
    with suppress(Exception):  # an untidy end of a model that nobody uses any more is no reason to stop
        model.close()
