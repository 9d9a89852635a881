"""The state machine of the router, without Flink: publications and plans in, batches out to who is asked.

One instance an operator instance, used from its one thread. State lives with the caller: for each data type
`Candidates`, handed in once by `restore` and taken out by `log`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from schemas.codecs.base import Codec, learner
from schemas.errors import ModelError, PlanError
from schemas.micro_batch import MicroBatch, in_slices
from schemas.plans.plan import read_plan
from schemas.results.answers import DecisionContext, Request
from schemas.results.records import EventKind, ModelEvent
from udfs.ensemble.candidates import Candidates
from udfs.ensemble.routing.routing import asked_by_type
from udfs.ensemble.routing.splitting import Splitting, Way
from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, Publication
from udfs.models.quotas import Quotas
from udfs.serving.publication_events import event_of, unreadable


@dataclass(frozen=True, slots=True)
class Routed:
    """A batch, or a slice of one, with a request for each model type that is asked, and what to expect.

    A decision context with nobody asked is of a batch that no candidate was there for.
    """

    batch: MicroBatch
    requests: Mapping[str, Request]
    context: DecisionContext


@dataclass(slots=True)
class _DataType:
    candidates: Candidates
    routing: Splitting
    revision: int = 0
    names: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


class Router:
    """Routes batches by data type. `raw_json`: payloads are JSON objects. `max_batch`: records of one
    request.

    `now`: epoch milliseconds.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        raw_json: bool,
        max_batch: int,
        subtask: int,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        quotas: Quotas | None = None,
    ) -> None:
        self._quotas = quotas or Quotas()
        self._codec, self._raw_json, self._max_batch = codec, raw_json, max_batch
        self._learn = learner(codec)
        self._subtask, self._now = subtask, now
        self._types: dict[str, _DataType] = {}
        self._unheard = _DataType(Candidates(), self._routing(""))

    def data_types(self) -> list[str]:
        """Those that were restored."""
        return list(self._types)

    def knows(self, data_type: str) -> bool:
        return data_type in self._types

    def restore(self, data_type: str, stored: bytes | None) -> list[ModelEvent]:
        """Take over the state of a data type. A plan that can no longer be followed is refused, as one that
        comes anew would be, and the default is in force: returns the event."""
        candidates = Candidates.decode(stored)
        sent = []
        try:
            routing = self._routing(candidates.plan_text())
        except ModelError as e:
            gone = candidates.drop_plan()
            routing = self._routing("")
            sent = [self._event(EventKind.REFUSED, one.publication(), e) for one in gone]
        known = self._types[data_type] = _DataType(candidates, routing)
        known.revision += len(sent)
        _refresh(known)
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        return self._types[data_type].candidates.encoded()

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the log; 0 for one that never changed."""
        return self._types[data_type].revision if data_type in self._types else 0

    def idle(self, data_type: str) -> bool:
        """Whether a data type has neither a candidate nor a plan."""
        known = self._types[data_type]
        return not known.names and known.candidates.plan is None

    def drop(self, data_type: str) -> None:
        """Forget a data type that is idle."""
        del self._types[data_type]

    def routes(self, data_type: str) -> bool:
        """Whether the data type has a candidate."""
        return data_type in self._types and bool(self._types[data_type].names)

    def publish(self, descriptor: bytes, published: Publication) -> list[ModelEvent]:
        """Act on a publication; its data type must have been restored. Events are about plans only: what
        became of a model is told by its executor."""
        if published.operation == EXPERIMENT:
            return []  # the controller's business, who answers with a plan
        known = self._types[published.data_type]
        plans = published.operation == DECIDE  # they too are bounded, with or without candidates
        types = (
            name
            for name, one in self._types.items()
            if one.names or (plans and one.candidates.plan is not None)
        )
        sent = []
        try:
            if published.operation == WITHDRAW:
                gone = known.candidates.unpublish(published.name)
                if gone is not None:
                    known.routing = self._routing("")
                    sent = [self._event(EventKind.WITHDRAWN, gone.publication())]
            elif plans:
                self._quotas.check_type(published.data_type, types)
                sent = self._decide(known, descriptor, published)
            else:
                self._quotas.check_type(published.data_type, types)
                known.candidates.publish(published, self._quotas)
        except ModelError as e:
            # of a model, its executor says the same
            return [self._event(EventKind.REFUSED, published, e)] if plans else []
        known.revision += 1
        _refresh(known)
        return sent

    def route(self, batch: MicroBatch) -> Iterator[Routed]:
        """Decide who is asked about the records of a batch; without candidates, nobody is.

        What their schemas are is asked for here, where records can wait: their deadline begins then.
        """
        self._learn(batch.payloads)
        known = self._types.get(batch.data_type, self._unheard)
        for some in in_slices(batch, self._max_batch):
            for part, way in known.routing.parts(some):
                yield self._routed(known, part, way)

    def _routed(self, known: _DataType, part: MicroBatch, way: Way) -> Routed:
        created = self._now()
        deadline = created + way.routing.plan.deadline_ms
        asked = way.routing.asked(part, known.names)
        batch_id, data_type, plan = _batch_id(part), part.data_type, known.candidates.plan
        requests = {
            model_type: Request(batch_id, data_type, created, deadline, some)
            for model_type, some in asked_by_type(asked, known.types).items()
        }
        context = DecisionContext(
            batch_id,
            data_type,
            created,
            deadline,
            asked,
            way.plan,
            plan.name if plan else "",
            plan.version if plan else 0,
            {one.candidate: known.metrics[one.candidate] for one in asked},
            way.experiment,
        )
        return Routed(part, requests, context)

    def unreadable(self, descriptor: bytes) -> ModelEvent:
        """The event for bytes on the model stream that are no valid descriptor."""
        return unreadable(descriptor, self._now(), self._subtask)

    def _decide(self, known: _DataType, descriptor: bytes, published: Publication) -> list[ModelEvent]:
        routing = self._routing(published.plan)  # before its version counts: a refused plan may be mended
        entry = known.candidates.decide(published, descriptor, self._quotas.version_jump)
        if entry is None:
            return [self._event(EventKind.ALREADY_SERVED, published)]
        known.routing = routing
        return [self._event(EventKind.DECIDES, entry.publication(), routing.warning)]

    def _routing(self, plan: str) -> Splitting:
        try:
            return Splitting(read_plan(plan), self._codec, self._raw_json)
        except ModelError:
            raise
        except Exception as e:  # whatever a plan makes of the code that reads it, it is refused for
            raise PlanError(f"the plan of {len(plan)} characters cannot be read: {type(e).__name__}") from e

    def _event(self, kind: EventKind, about: Publication, why: ModelError | str = "") -> ModelEvent:
        return event_of(kind, about, self._now(), self._subtask, why=why)


def _refresh(known: _DataType) -> None:
    """What each batch needs, worked out once a change."""
    candidates = known.candidates.all()
    known.names = tuple(candidates)
    known.types = {name: c.model_type for name, c in candidates.items()}
    known.metrics = {name: dict(c.metrics) for name, c in candidates.items()}


def _batch_id(batch: MicroBatch) -> str:
    """Unique, since a record is in one batch only, and the same after a restore."""
    where = [batch.data_type, batch.source, batch.partitions[0], batch.offsets[0]]
    return orjson.dumps(where).decode()
