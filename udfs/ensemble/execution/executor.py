"""The state machine of a model executor, without Flink: candidates come and go, every request is answered.

One instance an operator instance, used from its one thread. State lives with the caller: for each data type
the candidates' logs, handed in once by `restore` and taken out by `log`, and for each key the requests that
are `pending`. Answers are kept by key, so that they leave together with the state that no longer lists them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from schemas.codecs.base import Codec, learner
from schemas.errors import ModelError, StaleVersionError, VersionJumpError
from schemas.micro_batch import MicroBatch
from schemas.model_pb2 import CandidateLogs, ModelDescriptor, ModelLog, RouterLog
from schemas.results.answers import Answer, Reason, Request
from schemas.results.records import EventKind
from udfs.ensemble.candidates import Candidates
from udfs.ensemble.execution.clock import Clock
from udfs.ensemble.execution.completions import Completions
from udfs.ensemble.execution.evaluate import evaluate
from udfs.ensemble.execution.fault_injection import FaultInjection
from udfs.ensemble.execution.job import Job, PendingCall, pending_of
from udfs.ensemble.execution.served_candidate import ExecutorContext, ServedCandidate
from udfs.ensemble.execution.worker import CallLimits
from udfs.models.background_loader import BackgroundLoader, Load, LoadBounds, Loaded
from udfs.models.descriptor import DECIDE, EXPERIMENT, SERVE, WITHDRAW, Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.quotas import Quotas
from udfs.serving.model_state import Notice
from udfs.serving.publication_events import event_of

_LATE_LOOK_MS = 50  # an answer that is late already is in no hurry
_LOOK_MS = 20.0
_HISTORIES_KEPT = 1000  # a bound on state: withdrawn names whose versions are remembered, a data type


class Executor:
    """The candidates of one model type.

    `load` turns a publication into a model, or raises a `ModelError`; `load_again` does so for one that
    scored before. They are called from several threads. `max_batch` bounds the records of one `predict`.
    `closes`: called when this is closed.
    """

    def __init__(
        self,
        model_type: str,
        load: Load,
        codec: Codec,
        *,
        max_batch: int,
        subtask: int,
        limits: CallLimits | None = None,
        faults: FaultInjection | None = None,
        clock: Clock | None = None,
        load_again: Load | None = None,
        quotas: Quotas | None = None,
        bounds: LoadBounds | None = None,
        closes: Callable[[], None] = lambda: None,
    ) -> None:
        self._quotas, self._closes = quotas or Quotas(), closes
        self._model_type, self._codec, self._max_batch = model_type, codec, max_batch
        self._learn = learner(codec)
        self._limits, self._clock = limits or CallLimits(), clock or Clock()
        self._faults = faults or FaultInjection(None)
        self._completions = Completions()
        self._loader = BackgroundLoader(load, bounds)
        self._context = ExecutorContext(
            load_again or load,
            self._evaluate,
            self._settle,
            self._completions,
            self._limits,
            self._clock,
            subtask,
            self._quotas,
        )
        self._candidates: dict[str, dict[str, ServedCandidate]] = {}
        self._heard: dict[str, Candidates] = {}  # of all model types, as the router knows them
        self._revisions: dict[str, int] = {}
        self._pending: defaultdict[str, dict[Job, None]] = defaultdict(dict)
        self._answers: defaultdict[str, dict[Job, Answer]] = defaultdict(dict)
        self._notices: list[Notice] = []

    def data_types(self) -> list[str]:
        """Those that were restored."""
        return list(self._candidates)

    def knows(self, data_type: str) -> bool:
        return data_type in self._candidates

    def restore(self, data_type: str, stored: bytes | None) -> list[Notice]:
        """Take over the logs of a data type, and wait until what scored before has been loaded again: else
        the first records after a restart would find nobody. A load that fails, or takes too long, is told,
        and tried later."""
        state = CandidateLogs.FromString(stored or b"")
        logs = state.logs
        heard = state.heard if state.HasField("heard") else _heard(logs, self._model_type)
        self._heard[data_type] = Candidates.decode(heard.SerializeToString())
        known = self._candidates[data_type] = {}
        self._revisions[data_type] = 0
        for name in sorted(logs):
            known[name] = ServedCandidate(data_type, name, logs[name].SerializeToString(), self._context)
            self._notices += known[name].state.restored()
            self._load_next(data_type, name)
        sent = self.poll()
        until = time.monotonic() + self._limits.load_ms / 1000
        while any(candidate.reloading for candidate in known.values()) and time.monotonic() < until:
            self._completions.wait_for_more(_LOOK_MS)
            sent += self.poll()
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        known = self._candidates[data_type]
        stored = {name: ModelLog.FromString(c.state.log.encoded()) for name, c in known.items()}
        heard = RouterLog.FromString(self._heard[data_type].encoded())
        state = CandidateLogs(logs=stored, heard=heard)
        return state.SerializeToString(deterministic=True)

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the logs; 0 for those that never changed."""
        return self._revisions.get(data_type, 0)

    def idle(self, data_type: str) -> bool:
        """Whether a data type has no candidate, here or elsewhere, and nothing is left of any."""
        known = self._candidates[data_type]
        return not self._heard[data_type].all() and all(candidate.idle for candidate in known.values())

    def drop(self, data_type: str) -> None:
        """Forget a data type that is idle. Calls that have not come back are declined: nobody looks after
        them any more."""
        now = self._clock.epoch()
        for job in [job for jobs in self._pending.values() for job in jobs]:
            if job.request.data_type == data_type:
                self._settle(job, job.unscored(Reason.NO_MODEL, now))
        for candidate in self._candidates.pop(data_type).values():
            candidate.close()
        del self._heard[data_type], self._revisions[data_type]

    def publish(self, descriptor: bytes, published: Publication) -> list[Notice]:
        """Act on a publication; its data type must have been restored. Plans and experiments are
        none of our business."""
        if published.operation in (DECIDE, EXPERIMENT):
            return []
        data_type, name = published.data_type, published.name
        known, own = self._candidates[data_type], published.model_type == self._model_type
        self._revisions[data_type] += 1
        if published.operation == SERVE:
            unasked = self._unasked(published)
            if not own:
                return self._gone_elsewhere(published)
            if unasked is not None:
                now = int(self._clock.epoch())
                return [event_of(EventKind.REFUSED, published, now, self._context.subtask, why=unasked)]
            names = [name]
            if name not in known:
                _forget_one(known)
                known[name] = ServedCandidate(data_type, name, None, self._context)
        else:
            names = [n for n in known if name in ("", n)]
            self._heard[data_type].unpublish(name)
        sent: list[Notice] = []
        for name in names:
            sent += known[name].publish(descriptor, published)
            self._load_next(data_type, name)
        return sent

    def _unasked(self, published: Publication) -> ModelError | None:
        """Take in a model of whatever type as the router does: why that will not ask it, None where it will.

        A model that is loaded and never asked would be told as serving. The router does not hear of loads
        that fail: a version that was seen before of a candidate that it asks may be published again.
        """
        heard, refused = self._heard[published.data_type], None
        try:
            self._quotas.check_type(published.data_type, (t for t, one in self._heard.items() if one.all()))
            heard.publish(published, self._quotas)
        except (StaleVersionError, VersionJumpError) as e:
            refused = e
        except ModelError as e:
            return e
        asked = heard.model_type(published.name)
        if asked == published.model_type:
            return None
        return refused or StaleVersionError(
            f"{published.name} is served as {asked}, with the same content; publish it as "
            f"{published.model_type} under a higher version, or force it"
        )

    def request(self, key: str, request: Request, batch: MicroBatch) -> list[Answer]:
        """Ask the candidates. What they answer within a moment is returned, with whatever else is ready for
        this key; the rest comes by `take`.

        A schema that the router has just heard of is asked for here: a model whose call waits for it would
        be given up as one that does not come back.
        """
        self._learn(batch.payloads)
        known = self._candidates[request.data_type]
        jobs: list[Job] = []
        for asked in request.asked:
            rows = asked.rows
            payloads = batch.payloads if rows is None else [batch.payloads[row] for row in rows]
            job = Job(key, request, asked, payloads)
            self._pending[key][job] = None
            candidate = known.get(asked.candidate)
            if candidate is None:
                self._settle(job, job.unscored(Reason.NO_MODEL, self._clock.epoch()))
                continue
            candidate.submit(job)
            if job.prompt:
                jobs.append(job)
        if jobs:
            left = request.deadline - self._clock.epoch()
            self._completions.wait(jobs, min(self._limits.patience_ms, left))
        return self.take(key)

    def poll(self) -> list[Notice]:
        """Switch to what has been loaded meanwhile, and see to what is stuck."""
        for loaded in self._loader.finished():
            data_type, name = loaded.data_type, loaded.entry.name
            self._revisions[data_type] += 1
            self._notices += self._candidates[data_type][name].switch(loaded)
            self._load_next(data_type, name)
        self._collect()
        for data_type, known in self._candidates.items():
            for name, candidate in known.items():
                told = candidate.poll()
                if told:
                    self._revisions[data_type] += 1
                    self._notices += told
                    self._load_next(data_type, name)
        sent, self._notices = self._notices, []
        return sent

    def take(self, key: str) -> list[Answer]:
        """The answers to requests of this key that have come since the last call."""
        self._collect()
        answered = self._answers.pop(key, {})
        waiting = self._pending.get(key, {})
        for job in answered:
            del waiting[job]
        if not waiting:
            self._pending.pop(key, None)
        return list(answered.values())

    def pending(self, key: str) -> list[PendingCall]:
        """The requests of this key whose answers have not been taken: what the caller keeps in its state."""
        return pending_of(self._pending.get(key, ()))

    def restarted(self, pending: Iterable[PendingCall]) -> list[Answer]:
        """The answers for requests that were pending when the state was taken."""
        now = self._clock.epoch()
        return [one.restarted(now) for one in pending]

    def look_again_ms(self, key: str) -> int | None:
        """When to ask for answers again; None while nothing is pending."""
        jobs = self._pending.get(key)
        if not jobs:
            return None
        now = self._clock.epoch()
        in_time = any(not job.over(now) for job in jobs)
        return max(int(self._limits.patience_ms), 1) if in_time else _LATE_LOOK_MS

    def end(self, key: str) -> list[Answer]:
        """The input has ended: wait for what is pending, up to its deadline."""
        jobs = list(self._pending.get(key, ()))
        if jobs:
            last = max(job.request.deadline for job in jobs)
            self._completions.wait(jobs, last - self._clock.epoch())
            self._collect()
            for job in jobs:
                self._settle(job, job.unscored(Reason.ENDED, self._clock.epoch()))
        return self.take(key)

    def stats(self, every_ms: int = 0) -> list[Notice]:
        """The candidates' statistics, where there is news and the last are `every_ms` old."""
        every = [candidate for known in self._candidates.values() for candidate in known.values()]
        return [notice for candidate in every for notice in candidate.state.stats(every_ms)]

    def close(self) -> None:
        """End idle threads and close models; a call that is under way closes its model when it returns."""
        for known in self._candidates.values():
            for candidate in known.values():
                candidate.close()
        self._loader.close()
        for done in self._completions.take():
            if isinstance(done, Loaded) and done.model is not None:
                done.model.close()
        self._candidates.clear()
        self._closes()

    def _evaluate(self, job: Job, model: LoadedModel) -> Answer:
        self._faults.hold_up(job.asked.candidate)
        return evaluate(job, model, self._codec, self._clock, self._max_batch)

    def _collect(self) -> None:
        for done in self._completions.take():
            if isinstance(done, Loaded):
                self._reloaded(done)
                continue
            job, answer = done
            candidate = self._candidates.get(answer.data_type, {}).get(answer.candidate)
            if candidate is not None:
                candidate.answered(answer, len(job.payloads))
            self._settle(job, answer)

    def _reloaded(self, loaded: Loaded) -> None:
        data_type, name = loaded.data_type, loaded.entry.name
        candidate = self._candidates.get(data_type, {}).get(name)
        if candidate is not None:
            self._revisions[data_type] += 1
            self._notices += candidate.reloaded(loaded)
            self._load_next(data_type, name)
        elif loaded.model is not None:  # it was unpublished and forgotten meanwhile
            loaded.model.close()

    def _settle(self, job: Job, answer: Answer) -> None:
        """The job's only answer; any further one is thrown away."""
        if job in self._pending.get(job.key, ()):
            self._answers[job.key].setdefault(job, answer)

    def _load_next(self, data_type: str, name: str) -> None:
        entry = self._candidates[data_type][name].state.next_load()
        if entry is not None:
            self._revisions[data_type] += 1
            self._loader.submit(data_type, entry)

    def _gone_elsewhere(self, published: Publication) -> list[Notice]:
        """Its name may go on as a model of another type, which another executor serves."""
        candidate = self._candidates[published.data_type].get(published.name)
        asked = self._heard[published.data_type].model_type(published.name)
        if candidate is None or asked == self._model_type:
            return []
        return candidate.publish(b"", replace(published, operation=WITHDRAW))


def _heard(logs: Mapping[str, ModelLog], model_type: str) -> RouterLog:
    """What state of release 0.3 knows: candidates of its own model type."""
    heard, number = RouterLog(), ModelDescriptor.ModelType.Value(model_type)
    for name in sorted(logs):
        log, known = logs[name], heard.candidates.add(name=name, modeltype=number)
        known.log.newest.update(log.newest)
        newest = [*([log.served] if log.HasField("served") else []), *log.pending][-1:]
        for entry in newest:
            known.log.served.CopyFrom(entry)
            known.log.served.ClearField("descriptor")
    return heard


def _forget_one(known: dict[str, ServedCandidate]) -> None:
    """Make room for one more, where a candidate can be spared of which only the history is left."""
    if len(known) >= _HISTORIES_KEPT:
        spare = next((name for name, candidate in known.items() if candidate.idle), None)
        if spare is not None:
            known.pop(spare).close()
