"""Micro-batches of results and of outcomes, as predictions and outcomes by the instance of their key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeGuard

import msgspec
import orjson

from schemas.codecs.base import Code, UnfitError
from schemas.codecs.json_text import parse_object
from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import NAME_LIMIT, DeadLetter
from schemas.tensors import BadRecord
from schemas.utc_time import epoch_ms
from udfs.ensemble.routing.routing import entity_of
from udfs.features.entity_keys import key_group, part_of
from udfs.lifecycle.outcomes.joining import BY_FIELD, BY_IDENTITY
from udfs.lifecycle.outcomes.judging import Judging, as_declared, value_at
from udfs.lifecycle.outcomes.messages import Came, Delivery, Packed, Predicted, pack

_STAMP = "millrace"
_YEAR_10000 = 253_402_300_800_000
_EXACT = 2**53
_Name = Annotated[str, msgspec.Meta(max_length=NAME_LIMIT)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Place = Annotated[int, msgspec.Meta(ge=-(2**31), lt=1 << 62)]


class _Stamp(msgspec.Struct, gc=False):
    """What is read of a stamp. One that has something else in a field is as `_mended` makes it."""

    data_type: str
    source: str
    partition: _Place
    offset: _Place
    event_time: Annotated[int, msgspec.Meta(ge=0, lt=_YEAR_10000)] | None = None
    model: _Name = ""
    version: _Integer = 0
    digest: _Name = ""
    outcome: _Name = ""
    ms: float = 0.0
    scores: Any = None
    rule: _Name = ""
    plan: _Name = ""
    plan_version: _Integer = 0
    experiments: Any = None
    answers: Any = None


@dataclass(slots=True)
class Read:
    """What one micro-batch holds. `deliveries`: by part."""

    deliveries: dict[int, Delivery] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    newest: dict[int, int] = field(default_factory=dict)
    """Partition -> the greatest time of its messages."""


class Reader:
    """Reads results or outcomes, for `parts` instances, of which each has a range of the key groups, as Flink
    gives them out."""

    def __init__(self, judged: Mapping[str, Judging], groups: int, parts: int) -> None:
        self._judged, self._groups, self._parts = judged, groups, parts
        self._only = next(iter(judged)) if len(judged) == 1 else ""

    def results(self, batch: MicroBatch) -> Read:
        """Results of data types that nobody judges are passed over, and counted."""
        found, passed_over = Read(newest=_newest(batch)), 0
        by_group = defaultdict[int, list[tuple[str, int, Packed]]](list)
        for row, payload in enumerate(batch.payloads):
            try:
                record = parse_object(payload)
                stamp = record.get(_STAMP)
                if not isinstance(stamp, dict):
                    raise UnfitError(Code.WRONG_TYPE, f"the result has no object in the field {_STAMP!r}")
                judging = self._judging(stamp.get("data_type"))
                if judging is None:
                    passed_over += 1
                    continue
                predicted = _predicted(record, stamp, judging, batch.event_times[row])
                if judging.key:
                    key = _key_in(record, predicted.data_type, judging)
                else:
                    key = _key_of(predicted.source, predicted.partition, predicted.offset)
            except UnfitError as e:
                found.dead.append(dead_letter(batch, BadRecord(row, e.code, f"no result: {e.reason}")))
                continue
            found_at = by_group[key_group(key.encode(), self._groups)]
            found_at.append((key, predicted.event_time, pack(predicted)))
        for group, predictions in by_group.items():
            self._delivery(found, group).predictions[group] = predictions
        self._counted(found, batch, passed_over)
        return found

    def outcomes(self, batch: MicroBatch) -> Read:
        found = Read(newest=_newest(batch))
        by_group = defaultdict[int, list[tuple[str, Came]]](list)
        for row, payload in enumerate(batch.payloads):
            try:
                message = parse_object(payload)
                data_type = message.get("data_type", self._only)
                judging = self._judging(data_type)
                if judging is None:
                    said = f"its data_type is {str(data_type)[:100]!r}; judged are {', '.join(self._judged)}"
                    raise UnfitError(Code.WRONG_TYPE, said)
                came = _came(message, data_type, judging, batch, row)
                if judging.key:
                    key = _key_in(message, data_type, judging)
                else:
                    key = _key_of(*_identity(message, "it"))
            except UnfitError as e:
                found.dead.append(dead_letter(batch, BadRecord(row, e.code, f"no outcome: {e.reason}")))
                continue
            by_group[key_group(key.encode(), self._groups)].append((key, came))
        for group, outcomes in by_group.items():
            self._delivery(found, group).outcomes[group] = outcomes
        self._counted(found, batch, 0)
        return found

    def _judging(self, data_type: Any) -> Judging | None:
        return self._judged.get(data_type) if isinstance(data_type, str) else None

    def _delivery(self, found: Read, group: int) -> Delivery:
        return self._to(found, part_of(group, self._groups, self._parts))

    def _to(self, found: Read, part: int) -> Delivery:
        return found.deliveries.setdefault(part, Delivery())

    def _counted(self, found: Read, batch: MicroBatch, passed_over: int) -> None:
        """What no key belongs to is told to one instance, which counts it."""
        if passed_over or found.dead:
            to = self._to(found, batch.partitions[0] % self._parts)
            to.passed_over, to.refused = passed_over, len(found.dead)


def _newest(batch: MicroBatch) -> dict[int, int]:
    newest: dict[int, int] = {}
    for partition, time in zip(batch.partitions, batch.event_times, strict=True):
        if time is not None and time > newest.get(partition, -1):
            newest[partition] = time
    return newest


def _predicted(
    record: dict[str, Any], stamp: dict[str, Any], judging: Judging, message_time: int | None
) -> Predicted:
    try:
        said = msgspec.convert(stamp, _Stamp)
    except msgspec.ValidationError:
        said = msgspec.convert(_mended(stamp, message_time), _Stamp)
    event_time = said.event_time
    if event_time is None:
        event_time = _time(message_time, "its event time")
    entity = value_at(record, judging.entity) if judging.entity else None
    features, scores, score = record.get("features"), said.scores, None
    if said.outcome == "scored" and isinstance(scores, dict):
        score = judging.score_of(scores)
    fields = {
        name: as_declared(value, kind)
        for name, kind in judging.fields.items()
        if (value := value_at(record, name)) is not None
    }
    unit = entity_of(entity)
    return Predicted(  # by position: names take five times as long
        said.data_type,
        said.source,
        said.partition,
        said.offset,
        event_time,
        said.model,
        said.version,
        said.digest,
        said.outcome,
        said.ms,
        score,
        _json(scores),
        "" if unit is None else unit.decode()[:NAME_LIMIT],
        fields,
        _json(features) if isinstance(features, list) else "",
        said.rule,
        said.plan,
        said.plan_version,
        _object(said.experiments),
        _object(said.answers),
    )


def _mended(stamp: dict[str, Any], message_time: int | None) -> dict[str, Any]:
    """What a stamp counts as: without what cannot be in its fields. Raises `UnfitError` where its time is
    none, or its identity."""
    said = stamp.get("event_time")
    _time(message_time if said is None else said, "its event time")
    _identity(stamp, "its stamp")
    names = {name: _name(stamp.get(name)) for name in ("model", "digest", "outcome", "rule", "plan")}
    numbers = {name: _integer(stamp.get(name)) for name in ("version", "plan_version")}
    return {**stamp, **names, **numbers, "ms": _number(stamp.get("ms"))}


def _came(message: dict[str, Any], data_type: str, judging: Judging, batch: MicroBatch, row: int) -> Came:
    label = value_at(message, judging.label)
    try:
        value = judging.outcome_of(label)
    except ValueError as e:
        raise UnfitError(Code.WRONG_TYPE, str(e)) from None
    read_at = batch.event_times[row]
    if judging.time:
        said = epoch_ms(value_at(message, judging.time))
        time = _time(said, judging.time, "no time: give epoch milliseconds, or ISO 8601")
    else:
        time = _time(read_at, "its message's time")
    metrics = {
        name: float(number)
        for name in judging.metrics
        if isinstance(number := value_at(message, name), (int, float))
    }
    return Came(
        data_type,
        time,
        value,
        orjson.dumps(label).decode(),
        time if read_at is None else read_at,
        batch.source,
        batch.partitions[row],
        batch.offsets[row],
        batch.payloads[row],
        metrics,
    )


def _key_in(record: Mapping[str, Any], data_type: str, judging: Judging) -> str:
    """By the declared field. Raises `UnfitError` where it is none."""
    value = value_at(record, judging.key)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)  # as of entities, 7, 7.0 and "7" are the same one, whoever wrote it
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise UnfitError(Code.WRONG_TYPE, f"the key {judging.key!r} is neither text nor an integer")
    if len(text := str(value)) > NAME_LIMIT:
        raise UnfitError(Code.TOO_LARGE, f"the key {judging.key!r} has {len(text)} characters")
    return f"{BY_FIELD}{data_type}\x1f{text}"


def _key_of(source: str, partition: int, offset: int) -> str:
    return f"{BY_IDENTITY}{source}/{partition}/{offset}"


def _time(value: Any, what: str, said: str = "no epoch milliseconds") -> int:
    if type(value) is not int or not 0 <= value < _YEAR_10000:
        raise UnfitError(Code.WRONG_TYPE, f"{what} is {said}")
    return value


def _identity(of: Mapping[str, Any], what: str) -> tuple[str, int, int]:
    source, partition, offset = of.get("source"), of.get("partition"), of.get("offset")
    if not isinstance(source, str) or not _is_place(partition) or not _is_place(offset):
        raise UnfitError(Code.WRONG_TYPE, f"{what} does not name source, partition and offset of its record")
    return source, partition, offset


def _is_place(n: Any) -> TypeGuard[int]:
    return type(n) is int and -(2**31) <= n < 1 << 62


def _json(value: Any) -> str:
    """As text; empty for what is deeper than can be written: the field `features` may be the record's own."""
    if not isinstance(value, (dict, list)) or not value:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""


def _object(value: Any) -> str:
    return _json(value) if isinstance(value, dict) else ""


def _name(value: Any) -> str:
    """Of a model, a plan or the like: what is told apart by it, and must fit into messages."""
    return value[:NAME_LIMIT] if isinstance(value, str) else ""


def _integer(value: Any) -> int:
    return value if type(value) is int and -(2**63) <= value < 2**63 else 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


# Taken in here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_STAMP_DECODER = msgspec.json.Decoder(_Stamp)
