"""Messages that jobs and publishers send about models, into the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec
import orjson
import tenacity

from schemas.codecs.base import Code
from schemas.errors import (
    DescriptorError,
    ExperimentError,
    RegistryError,
    StatisticsError,
    StoreError,
)
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import ALL, QualityRecord, read_message
from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import CandidateStats, DeadLetter, EventKind, ModelEvent, ModelToServeStats
from schemas.tensors import BadRecord
from udfs.lifecycle.repository.published import contents_of, model_of, plan_of
from udfs.models.descriptor import parse
from udfs.models.model_store import ModelStore, StoreSpec
from udfs.stores.registry.model_quality import name_of
from udfs.stores.registry.model_records import RegisteredModel, check_storable
from udfs.stores.registry.models import ModelRegistry, ModelStats


class Told(StrEnum):
    """What a stream tells of."""

    EVENTS = "model-events"
    STATISTICS = "model-stats"
    PUBLISHED = "models"
    QUALITY = "quality"
    EXPERIMENTS = "experiments"


@dataclass(frozen=True, slots=True)
class TrackSpec:
    """`job`: whose events and statistics they are; empty: the data type of a micro-batch names it. `store`:
    where contents that travel in descriptors are kept. `patience_s`: how long a registry that is away is
    asked again before the job fails."""

    registry: str
    store: StoreSpec
    job: str = ""
    patience_s: float = 60.0

    def tracker(self, kind: Told) -> Tracker:
        return Tracker(self, kind)


class Tracker:
    """Enters micro-batches of one kind of message in the registry; the same once more changes nothing."""

    def __init__(self, spec: TrackSpec, kind: Told) -> None:
        self._registry, self._job = ModelRegistry(spec.registry), spec.job
        self._entry = _entry(kind, self._registry, spec.store)
        self._patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreError),
            wait=tenacity.wait_exponential(0.2, 10),
            stop=tenacity.stop_after_delay(spec.patience_s),
            reraise=True,
        )

    def take(self, batch: MicroBatch) -> list[DeadLetter]:
        """Enter what can be read; the rest. Raises `StoreError` where the registry or the store stays away,
        and `RegistryError` where there is another release's."""
        dead, read = [], []
        for row, message in enumerate(batch.payloads):
            if row in batch.null_payloads:  # a deletion by compaction tells nothing
                continue
            try:
                read.append(self._entry.read(message))
            except _UNREADABLE as e:
                dead.append(dead_letter(batch, BadRecord(row, Code.UNPARSABLE.value, str(e))))
        if read:
            self._patiently(self._entry.store, self._job or batch.data_type, read)
        return dead

    def close(self) -> None:
        self._registry.close()


_UNREADABLE = (
    ValueError,
    TypeError,
    RecursionError,
    DescriptorError,
    RegistryError,
    StatisticsError,
    ExperimentError,
)


class _Entry(Protocol):
    """One kind of message: `read` raises for what is none, `store` enters what was read of a job. What
    `read` raises are msgspec's errors and others that are `ValueError`s, and those that `take` names."""

    def read(self, message: bytes) -> Any: ...

    def store(self, job: str, read: Sequence[Any]) -> None: ...


def _entry(kind: Told, registry: ModelRegistry, store: StoreSpec) -> _Entry:
    if kind is Told.PUBLISHED:
        return _Published(registry, store)
    entries: dict[Told, Callable[[ModelRegistry], _Entry]] = {
        Told.EVENTS: _Events,
        Told.STATISTICS: _Statistics,
        Told.QUALITY: _Quality,
        Told.EXPERIMENTS: _Experiments,
    }
    return entries[kind](registry)


class _Events:
    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def read(self, message: bytes) -> ModelEvent:
        event = _EVENT_DECODER.decode(message)
        check_storable(data_type=event.data_type, name=event.name, version=event.version, at=event.at)
        check_storable(digest=event.digest, subtask=event.subtask, code=event.code)
        return event

    def store(self, job: str, read: Sequence[ModelEvent]) -> None:
        self._registry.add_events(job, read)
        for event in read:
            if event.kind is EventKind.SERVED and event.digest:  # it may have been published by no version
                seen = RegisteredModel(
                    event.data_type, event.name, event.version, event.digest, publisher=event.signer
                )
                # A signature that a job has verified counts more than the name that a publisher gave itself.
                enter = self._registry.put if event.signer else self._registry.put_seen
                enter(seen)


class _Statistics:
    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def read(self, message: bytes) -> ModelStats:
        is_candidate = "candidate" in msgspec.json.decode(message, type=dict[str, Any])
        told: ModelStats
        if is_candidate:
            told = _CANDIDATE_STATS_DECODER.decode(message)
        else:
            told = _SERVING_STATS_DECODER.decode(message)
        name = told.candidate if isinstance(told, CandidateStats) else told.name
        check_storable(data_type=told.data_type, name=name, version=told.version, digest=told.digest)
        check_storable(subtask=told.subtask, since=told.since, at=told.at)
        orjson.dumps(told)  # `TypeError` for an integer beyond 64 bits
        return told

    def store(self, job: str, read: Sequence[ModelStats]) -> None:
        self._registry.add_statistics(job, read)


class _Quality:
    """What is told of windows is passed over: the registry keeps what is known since the start."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def read(self, message: bytes) -> QualityRecord:
        told = read_message(QualityRecord, message)
        check_storable(data_type=told.data_type, name=name_of(told), version=told.version)
        check_storable(at=told.at)
        return told

    def store(self, job: str, read: Sequence[QualityRecord]) -> None:
        if since_start := [told for told in read if told.window == ALL]:
            self._registry.add_quality(since_start)


class _Experiments:
    """What changes nothing is passed over: progress, which comes every few seconds, and refused orders."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def read(self, message: bytes) -> ExperimentEvent:
        told = read_event(message)
        check_storable(data_type=told.data_type, experiment=told.experiment, at=told.at)
        return told

    def store(self, job: str, read: Sequence[ExperimentEvent]) -> None:
        if done := [told for told in read if told.kind not in ("progress", "refused")]:
            self._registry.add_experiments(done)


class _Published:
    def __init__(self, registry: ModelRegistry, store: StoreSpec) -> None:
        self._registry, self._store = registry, ModelStore(store)

    def read(self, message: bytes) -> bytes:
        said = parse(message)
        check_storable(data_type=said.data_type, name=said.name, version=said.version, size=said.size)
        for content in contents_of(message):
            check_storable(size=content.size)
        return message

    def store(self, job: str, read: Sequence[bytes]) -> None:
        for message in read:
            kept = self._store.keep(message, parse(message))
            if (plan := plan_of(kept)) is not None:
                self._registry.put_plan(plan)
            if (model := model_of(kept)) is not None:
                self._registry.put_seen(model, contents_of(kept))


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_EVENT_DECODER = msgspec.json.Decoder(ModelEvent)
_CANDIDATE_STATS_DECODER = msgspec.json.Decoder(CandidateStats)
_SERVING_STATS_DECODER = msgspec.json.Decoder(ModelToServeStats)
