"""One candidate in an executor: its log and model (a `ModelState`), and its calls (a `Worker`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import InconclusiveError
from schemas.results.answers import Answer, AnswerOutcome, Reason
from udfs.ensemble.execution.clock import Clock
from udfs.ensemble.execution.completions import Completions
from udfs.ensemble.execution.evaluate import failed
from udfs.ensemble.execution.job import Job
from udfs.ensemble.execution.worker import AbandonedCall, CallLimits, Worker
from udfs.models.background_loader import Load, Loaded, load_entry
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import LogEntry
from udfs.models.quotas import Quotas
from udfs.serving.model_state import ModelState, Notice

_LOAD_AGAIN_MS = 10_000.0
_ABANDONED_WITHIN_MS = 600_000.0


@dataclass(frozen=True, slots=True)
class ExecutorContext:
    """What the candidates of an executor share. `load` is of what scored before. `settle` is told of answers
    that no worker gives."""

    load: Load
    evaluate: Callable[[Job, LoadedModel], Answer]
    settle: Callable[[Job, Answer], None]
    completions: Completions
    limits: CallLimits
    clock: Clock
    subtask: int
    quotas: Quotas


class ServedCandidate:
    """Keeps the worker at the model of its state. `stored` is a `ModelLog`."""

    def __init__(self, data_type: str, name: str, stored: bytes | None, context: ExecutorContext) -> None:
        self._data_type, self._context = data_type, context
        # The worker closes models, when no call is in them any more.
        self.state = ModelState(
            data_type, stored, context.subtask, give_back=lambda model: None, quotas=context.quotas
        )
        self._worker = Worker(name, context.evaluate, context.completions, context.limits, context.clock)
        self._load_again_at = 0.0
        self._reloading = False
        self._abandoned_at: list[float] = []

    @property
    def known(self) -> bool:
        """Whether there is a model, or one that is to be loaded."""
        return bool(self.state.log.candidates())

    @property
    def reloading(self) -> bool:
        """Whether a model that scored before is being loaded again."""
        return self._reloading

    @property
    def idle(self) -> bool:
        """Whether nothing is left of it but its history."""
        return not (self.known or self.state.loading or self._reloading or self._worker.stuck)

    def publish(self, descriptor: bytes, published: Publication) -> list[Notice]:
        sent = self.state.publish(descriptor, published)
        if not self.known:
            self._use(None)
        else:
            self._follow()
        return sent

    def switch(self, loaded: Loaded) -> list[Notice]:
        """A load in the background has ended."""
        sent = self.state.switch(loaded)
        if loaded.model is not None:
            self._abandoned_at = []
        self._follow()
        return sent

    def reloaded(self, loaded: Loaded) -> list[Notice]:
        """A load on the worker's thread has ended."""
        sent = self.state.reloaded(loaded)
        self._reloading = False
        self._load_again_at = self._context.clock.steady() + _LOAD_AGAIN_MS
        self._follow()
        return sent

    def submit(self, job: Job) -> None:
        """Have the job answered, by the worker or at once."""
        if not self.known:
            reason: Reason | None = Reason.NO_MODEL
        elif job.over(self._context.clock.epoch()):
            reason = Reason.LATE_ON_ARRIVAL
        else:
            reason = self._worker.submit(job)
        if reason is not None:
            self._drop([job], reason)

    def answered(self, answer: Answer, records: int) -> None:
        """Count an answer that the worker gave."""
        model, usage = self.state.model, self.state.usage
        if answer.outcome is AnswerOutcome.DECLINED:
            if usage is not None:
                usage.declined()
        elif model is not None and model.stamp.version == answer.version:
            failures = len(answer.bad) if answer.outcome is AnswerOutcome.SCORED else records
            self.state.used(records, failures, answer.ms)

    def poll(self) -> list[Notice]:
        """Give up what is stuck, decline what has waited in vain, and see to it that there is a model."""
        self._drop(self._worker.expired(), Reason.LATE_IN_QUEUE)
        sent = self._give_up_load() + self._abandon_overdue()
        if self.state.usage is not None:
            self.state.usage.abandoned(self._worker.abandoned, self._worker.stuck)
        entry = self.state.log.served
        due = self.state.model is None and self._context.clock.steady() >= self._load_again_at
        if entry is not None and due and not self._reloading:
            self._reload(entry)
        return sent

    def close(self) -> None:
        self._worker.close()

    def _abandon_overdue(self) -> list[Notice]:
        call = self._worker.abandon_overdue()
        if call is None:
            return []
        clock = self._context.clock
        if call.job is not None:
            self._context.settle(call.job, failed(call.job, call.model, clock, Reason.ABANDONED.value))
            if self.state.model is call.model:
                records = len(call.job.payloads)
                self.state.used(records, records, call.ms)
        self._drop(call.dropped, Reason.OCCUPIED)
        sent: list[Notice] = []
        if call.lost:
            most = self._context.limits.max_abandoned
            sent.append(
                self.state.lose(
                    f"a call has lasted {call.ms:.0f} ms; a fresh instance takes over; "
                    f"calls stuck: {self._worker.stuck} of at most {most}"
                )
            )
            self._load_again_at = 0.0
        return sent + self._set_aside(call)

    def _set_aside(self, call: AbandonedCall) -> list[Notice]:
        """Leave a candidate whose calls do not come back to what scored before it, if anything did."""
        entry = self.state.log.served
        if entry is None or (entry.name, entry.version) != (
            call.model.stamp.name,
            call.model.stamp.version,
        ):
            return []
        now = self._context.clock.steady()
        self._abandoned_at = [at for at in self._abandoned_at if now - at < _ABANDONED_WITHIN_MS] + [now]
        if len(self._abandoned_at) < self._context.limits.set_aside:
            return []
        sent = self.state.set_aside(f"{len(self._abandoned_at)} calls did not come back")
        self._abandoned_at = []
        self._use(None)
        return sent

    def _give_up_load(self) -> list[Notice]:
        entry, ms = self.state.log.served, self._context.limits.load_ms
        if not (self._reloading and entry is not None and self._worker.give_up_load()):
            return []
        error = InconclusiveError(f"it did not come to an end within {ms / 1000:g} s, and was given up")
        return self.reloaded(Loaded(self._data_type, entry, None, error, ms / 1000))

    def _reload(self, entry: LogEntry) -> None:
        load, data_type = self._context.load, self._data_type
        self._reloading = True
        self._worker.reload(lambda: load_entry(load, data_type, entry))

    def _follow(self) -> None:
        if self.state.model is not None or self._worker.model is not None:
            self._use(self.state.model)

    def _use(self, model: LoadedModel | None) -> None:
        self._reloading = False  # `use` calls off a load
        self._drop(self._worker.use(model), Reason.NO_MODEL)

    def _drop(self, jobs: list[Job], reason: Reason) -> None:
        for job in jobs:
            self._context.settle(job, job.unscored(reason, self._context.clock.epoch()))
            if self.state.usage is not None:
                self.state.usage.declined()
