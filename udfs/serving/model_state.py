"""One data type in a scoring operator: which models are published, which one scores, how it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from schemas.errors import InconclusiveError, ModelError, ProcessEndedError
from schemas.results.records import EventKind, ModelEvent, ModelToServeStats
from udfs.models.background_loader import Loaded
from udfs.models.code_version import code_version
from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import LogEntry, ModelLog
from udfs.models.quotas import Quotas
from udfs.serving.usage import Usage

Notice = ModelEvent | ModelToServeStats
_LONGEST_NOTES = 2000


class ModelState:
    """Takes publications and finished loads, and answers with what is to be told about them.

    `revision` counts the log's changes. `give_back` is told of a model that scored and does no longer.
    """

    def __init__(
        self,
        data_type: str,
        stored: bytes | None,
        subtask: int,
        give_back: Callable[[LoadedModel], None] = lambda model: model.close(),
        quotas: Quotas | None = None,
    ) -> None:
        self.log = ModelLog.decode(stored)
        self.revision = 0
        self.loading = False
        self.model: LoadedModel | None = None
        self.usage: Usage | None = None
        self._give_back, self._quotas = give_back, quotas or Quotas()
        self._data_type, self._subtask = data_type, subtask
        self._stats_at = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is left but history."""
        return not (self.log.candidates() or self.loading or self.model)

    def publish(self, descriptor: bytes, published: Publication, types: Iterable[str] = ()) -> list[Notice]:
        """Enter a publication in the log. `next_load` says what follows from it. `types`: those that have a
        model, or one that waits."""
        if published.operation in (DECIDE, EXPERIMENT):
            reason = (
                "this job serves one model a data type; plans and experiments are for the speculating job"
            )
            return [self._event(EventKind.NOT_APPLICABLE, published, step="plan", reason=reason)]
        if published.operation == WITHDRAW:
            self.revision += 1
            return self._unpublish(published)
        try:
            self._quotas.check_type(published.data_type, types)
            self._quotas.check_pending(self.log.pending, descriptor)
            self.revision += 1
            entry = self.log.accept(published, descriptor, self._quotas.version_jump)
        except ModelError as e:
            return [self._event(EventKind.REFUSED, published, step=e.step, reason=str(e))]
        return [] if entry else [self._event(EventKind.ALREADY_SERVED, published)]

    def next_load(self) -> LogEntry | None:
        """The entry to load now; None while a load is under way. The caller keeps the log, which counts the
        attempt, and reports the end of the load to `switch`."""
        entry = None if self.loading else self.log.newest_pending()
        if entry is not None:
            self.loading = True
            self.revision += 1
            self.log.begun(entry)
        return entry

    def restored(self) -> list[Notice]:
        """What the log says after a restart: attempts that a restart cut short count too."""
        most = self._quotas.attempts
        spent = [entry for entry in self.log.pending if self.log.attempts(entry) >= most]
        sent: list[Notice] = []
        for entry in spent:
            reason = f"{most} attempts to load it came to no outcome, the last ended with the process"
            sent.append(self._quarantine(entry, "load", reason))
        return sent

    def switch(self, loaded: Loaded) -> list[Notice]:
        """A load has ended: its model scores from now on. If it failed, all stays as it was."""
        self.loading = False
        return self.reloaded(loaded)

    def reloaded(self, loaded: Loaded) -> list[Notice]:
        """As `switch`, of a load that `next_load` did not ask for: of the entry that serves, once more."""
        self.revision += 1
        entry, model, ms = loaded.entry, loaded.model, loaded.seconds * 1000
        if entry not in self.log.candidates():  # withdrawn while it was loading
            if model is not None:
                model.close()
            return []
        if model is None:
            assert loaded.error is not None
            step, reason = loaded.error.step, str(loaded.error)
            if isinstance(loaded.error, InconclusiveError) and entry in self.log.pending:
                attempts = self.log.attempts(entry)
                if attempts < self._quotas.attempts:
                    return []  # it waits for another
                reason = f"{attempts} attempts to load it came to no outcome; the last: {reason}"
                return [self._quarantine(entry, step, reason, ms)]
            if isinstance(loaded.error, ProcessEndedError) and entry == self.log.served and not self.model:
                return self._ended_again(entry, step, reason, ms)
            self.log.refused(entry)
            return [self._event(EventKind.REFUSED, entry, step=step, reason=reason, load_ms=ms)]
        lost = self.model is None and self.usage is not None and self.log.served == entry
        sent = [] if lost else self._retire()
        sent += [self._event(EventKind.SUPERSEDED, older) for older in self.log.loaded(entry)]
        self.model = model
        if not lost:  # the same model again goes on counting
            self.usage = Usage(model.stamp, self._subtask)
        told = "; ".join(model.load_report.notes)[:_LONGEST_NOTES]
        served = self._event(EventKind.SERVED, entry, digest=model.stamp.digest, reason=told, load_ms=ms)
        return [*sent, replace(served, code=code_version())]

    def _ended_again(self, entry: LogEntry, step: str, reason: str, ms: float) -> list[Notice]:
        """What served ends the process that loads it: it waits for another attempt, or is set aside."""
        attempts = self.log.begun(entry)
        if attempts < self._quotas.attempts:
            return []
        said = f"{attempts} attempts to load it again came to no outcome; the last: {reason}"
        return self._give_way(entry, step, said, ms)

    def lose(self, reason: str) -> ModelEvent:
        """The instance that scores does not come back from a call. It stays with whoever called it."""
        assert self.model is not None and self.log.served is not None
        digest, self.model = self.model.stamp.digest, None
        return self._event(EventKind.ABANDONED, self.log.served, digest=digest, step="predict", reason=reason)

    def set_aside(self, reason: str) -> list[Notice]:
        """The model that scores is no longer to be called: what served before waits to be loaded again."""
        assert self.log.served is not None
        return self._give_way(self.log.served, "predict", f"unpublished by the job: {reason}")

    def _give_way(self, entry: LogEntry, step: str, reason: str, ms: float = 0.0) -> list[Notice]:
        former = self.log.former
        then = f"; version {former.version} of {former.name} serves again" if former else ""
        return [*self._retire(), self._quarantine(entry, step, f"{reason}{then}", ms)]

    def used(self, records: int, failures: int, ms: float) -> None:
        """The model that scores has been given this many records, and took this long."""
        assert self.usage is not None
        self.usage.add(records, failures, ms)

    def stats(self, every_ms: int) -> list[Notice]:
        """The statistics of the model that scores, where there is news and the last are `every_ms` old."""
        now = time.time_ns() // 1_000_000
        if self.usage is None or not self.usage.changed() or now - self._stats_at < every_ms:
            return []
        self._stats_at = now
        return [self.usage.stats()]

    def close(self) -> None:
        if self.model is not None:
            self.model.close()

    def _unpublish(self, published: Publication) -> list[Notice]:
        gone = self.log.unpublish(published.name)
        sent = self._retire() if self.log.served is None else []
        by = published.signer  # who took it back, and not who published it
        return sent + [replace(self._event(EventKind.WITHDRAWN, entry), signer=by) for entry in gone]

    def _quarantine(self, entry: LogEntry, step: str, reason: str, load_ms: float = 0.0) -> ModelEvent:
        self.revision += 1
        self.log.quarantine(entry, reason, time.time_ns() // 1_000_000)
        return self._event(EventKind.QUARANTINED, entry, step=step, reason=reason, load_ms=load_ms)

    def _retire(self) -> list[Notice]:
        if self.usage is None:
            return []
        last: list[Notice] = [self.usage.stats(serving=False)]
        if self.model is not None:
            self._give_back(self.model)
        self.model = self.usage = None
        return last

    def _event(
        self,
        kind: EventKind,
        about: LogEntry | Publication,
        *,
        digest: str = "",
        step: str = "",
        reason: str = "",
        load_ms: float = 0.0,
    ) -> ModelEvent:
        return ModelEvent(
            kind=kind,
            data_type=self._data_type,
            name=about.name,
            version=about.version,
            digest=digest or about.sha256,
            at=time.time_ns() // 1_000_000,
            subtask=self._subtask,
            step=step,
            reason=reason,
            load_ms=load_ms,
            signer=about.signer,
        )
