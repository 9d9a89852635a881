"""The part of a data type's records that is one job's, where jobs share it by the arms of experiments.

Each job serves one model, and scores the records of those arms whose plan asks that model alone. All jobs
draw arms from the same plans by the same hash. A plan divides records by their time, from `LEAD_MS` after its
creation on: jobs that have read it by then agree about each record, whenever they read that one.

State lives with the caller: for each data type a log, handed in once by `restore` and taken out by `log`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from schemas.codecs.base import Codec
from schemas.errors import ModelError, PlanError, StateError
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import Only, Plan, read_plan
from schemas.results.records import EventKind, ModelEvent
from schemas.results.results import Experiments
from schemas.versioned import read_versioned
from udfs.ensemble.routing.splitting import Splitting, Way
from udfs.models.descriptor import DECIDE, SERVE, WITHDRAW, Publication, parse
from udfs.models.model_log import ModelLog
from udfs.models.quotas import Quotas
from udfs.serving.publication_events import event_of

LEAD_MS = 10_000
"""How long after its creation a plan begins to divide records: until then every job must have read it."""
AHEAD_MS = 3_600_000
"""By how much a publisher's clock may be ahead."""
PLANS_KEPT = 64
"""Of a data type, to divide records of the past as they were divided then."""
VERSION = 1
_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a job shares a data type. `model`: the name of the only one that it serves. `undivided`: it scores
    what no plan divides; of all jobs that share the type, one does."""

    model: str
    undivided: bool


class ArmLog(msgspec.Struct):
    """`versions`: a `ModelLog` of plans. `plans`: since when each divides records (epoch ms, ascending), and
    its descriptor, empty for none."""

    versions: bytes = b""
    plans: list[tuple[int, bytes]] = []
    version: int = VERSION


@dataclass(slots=True)
class _SharedType:
    log: ArmLog
    versions: ModelLog
    splittings: list[Splitting | None] = field(default_factory=list)
    revision: int = 0

    def add(self, since: int, descriptor: bytes, splitting: Splitting | None) -> None:
        last = self.log.plans[-1][0] if self.log.plans else 0
        self.log.plans = [*self.log.plans, (max(since, last), descriptor)][-PLANS_KEPT:]
        self.splittings = [*self.splittings, splitting][-PLANS_KEPT:]

    def by_time(self, batch: MicroBatch) -> Iterator[tuple[MicroBatch, Splitting | None]]:
        """Records with the plan that divides them; the newest, where they have no time."""
        since = [at for at, _ in self.log.plans]
        times = [_NEWEST if at is None else at for at in batch.event_times]
        places = np.searchsorted(since, times, side="right") if since else np.zeros(len(batch), np.intp)
        for place in np.unique(places).tolist():
            rows = np.flatnonzero(places == place).tolist()
            part = batch if len(rows) == len(batch) else batch.take(rows)
            yield part, (self.splittings[place - 1] if place else None)


class Arms:
    """What one operator instance takes of the data types in `sharing`; of others everything.

    `raw_json`: payloads are JSON objects. `now`: epoch milliseconds.
    """

    def __init__(
        self,
        sharing: Mapping[str, Sharing],
        codec: Codec,
        *,
        raw_json: bool,
        subtask: int,
        quotas: Quotas,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._sharing, self._codec, self._raw_json = sharing, codec, raw_json
        self._subtask, self._quotas, self._now = subtask, quotas, now
        self._types: dict[str, _SharedType] = {}

    def data_types(self) -> Sequence[str]:
        """Those that were restored."""
        return tuple(self._types)

    def knows(self, data_type: str) -> bool:
        return data_type in self._types

    def restore(self, data_type: str, stored: bytes | None) -> list[ModelEvent]:
        """Take over the log of a data type. A plan that can no longer be followed is refused."""
        log = ArmLog() if stored is None else read_versioned(_LOG.decode, stored, "arms", VERSION, StateError)
        known = self._types[data_type] = _SharedType(ArmLog(), ModelLog.decode(log.versions))
        sent = []
        for since, descriptor in log.plans:
            try:
                splitting = self._splitting(parse(descriptor).plan) if descriptor else None
            except ModelError as e:
                sent.append(self._event(EventKind.REFUSED, parse(descriptor), e))
                continue
            known.add(since, descriptor, splitting)
        known.revision = len(sent)
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        known = self._types[data_type]
        known.log.versions = known.versions.encoded()
        return msgspec.msgpack.encode(known.log)

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the log; 0 for one that never changed."""
        return self._types[data_type].revision if data_type in self._types else 0

    def idle(self, data_type: str) -> bool:
        """Whether all records of a data type are this job's."""
        return data_type not in self._sharing

    def drop(self, data_type: str) -> None:
        """Forget a data type that is idle."""
        del self._types[data_type]

    def serves(self, published: Publication) -> bool:
        """Whether what serves models is to know of it: of a shared data type, the job's model, and what is
        withdrawn."""
        sharing = self._sharing.get(published.data_type)
        if sharing is None or published.operation == WITHDRAW:
            return True
        return published.operation == SERVE and published.name == sharing.model

    def publish(self, descriptor: bytes, published: Publication) -> list[ModelEvent]:  # noqa: PLR0911
        """Act on a plan of a shared data type, which must have been restored, and on its withdrawal."""
        if published.data_type not in self._sharing:
            return []
        known, since = self._types[published.data_type], published.created_ms + LEAD_MS
        if published.operation in (DECIDE, WITHDRAW) and published.created_ms > self._now() + AHEAD_MS:
            said = "it is dated more than an hour from now, and all later plans would wait for its time"
            return [self._event(EventKind.REFUSED, published, PlanError(said))]
        if published.operation == WITHDRAW and published.name:
            gone = known.versions.unpublish(published.name)
            if not gone:
                return []
            known.add(since, b"", None)
            sent = [self._event(EventKind.WITHDRAWN, published)]
        elif published.operation == DECIDE:
            try:
                splitting = self._splitting(published.plan)  # before its version counts
                entry = known.versions.accept(published, b"", self._quotas.version_jump)
            except ModelError as e:
                return [self._event(EventKind.REFUSED, published, e)]
            if entry is None:
                return [self._event(EventKind.ALREADY_SERVED, published)]
            known.versions.loaded(entry)
            known.add(since, descriptor, splitting)
            sent = [self._event(EventKind.DECIDES, published)]
        else:
            return []
        known.revision += 1
        return sent

    def own(self, batch: MicroBatch) -> tuple[list[tuple[MicroBatch, Experiments]], int]:
        """The records that are this job's, with the experiments that they are part of, and how many are not.

        A record that is in no experiment goes by the plan's `rest`: one without the entity, one that cannot
        be parsed, and one whose entity is in no population.
        """
        sharing = self._sharing.get(batch.data_type)
        if sharing is None:
            return [(batch, {})], 0
        found: list[tuple[MicroBatch, Experiments]] = []
        known = self._types.get(batch.data_type)
        for part, splitting in [(batch, None)] if known is None else known.by_time(batch):
            if splitting is None:
                found += [(part, {})] if sharing.undivided else []
                continue
            for piece, way in splitting.parts(part):
                if way.routing.plan.route == Only((sharing.model,)):
                    found.append((piece, _experiments(way)))
        return found, len(batch) - sum(len(piece) for piece, _ in found)

    def _splitting(self, text: str) -> Splitting:
        plan = read_plan(text)
        for split in plan.splits:
            for arm in split.arms:
                _check_arm(f"arm {arm.name!r}", arm.plan)
        _check_arm("the plan", plan.rest)
        return Splitting(plan, self._codec, self._raw_json)

    def _event(self, kind: EventKind, about: Publication, why: ModelError | str = "") -> ModelEvent:
        return event_of(kind, about, self._now(), self._subtask, why=why)


def _check_arm(what: str, plan: Plan) -> None:
    if not isinstance(plan.route, Only) or len(plan.route.candidates) != 1 or plan.shadow:
        raise PlanError(
            f"{what} asks more than one model: jobs that share a data type serve one each, and follow plans "
            "whose arms are a model each"
        )


def _experiments(way: Way) -> Experiments:
    return {one.name: (one.arm, one.step)} if (one := way.experiment) else {}


_LOG = msgspec.msgpack.Decoder(ArmLog)
