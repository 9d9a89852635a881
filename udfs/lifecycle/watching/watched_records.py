"""Records and results of a micro-batch as what is counted: fields, whose they are, and when they happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from schemas.codecs.base import Codec, UnfitError
from schemas.codecs.json_text import parse_object
from schemas.micro_batch import MicroBatch
from schemas.results.records import NAME_LIMIT
from schemas.utc_time import epoch_ms
from udfs.lifecycle.watching.series import SCORES

LONGEST_SCORE = 64
"""Numbers of a score that is a list, which are counted one by one."""
_OWN = "millrace"


class Watched(NamedTuple):
    """One record of a micro-batch, at index `row`. `fields` is None where it could not be read."""

    row: int
    data_type: str
    model: str
    version: int
    time: int | None
    fields: dict[str, Any] | None


def watched_records(
    batch: MicroBatch, codec: Codec | None, time_fields: Mapping[str, str]
) -> Iterator[Watched]:
    """Of records. `codec`: None for JSON. `time_fields`: data type -> the field that says when; else it is
    the record's own time."""
    data_type = batch.data_type
    field = time_fields.get(data_type, "")
    payloads = batch.payloads if codec is None else [codec.to_json(p) or b"" for p in batch.payloads]
    for row, record in enumerate(_parsed(payloads)):
        time = batch.event_times[row]
        if field and record is not None:
            time = epoch_ms(record.get(field))
        yield Watched(row, data_type, "", 0, time, record)


def watched_results(
    batch: MicroBatch, with_fields: bool, time_fields: Mapping[str, str]
) -> Iterator[Watched]:
    """Of results, scored or not. `with_fields`: the record's fields are counted beside the scores."""
    for row, record in enumerate(_parsed(batch.payloads)):
        stamp = _stamp(record)
        if record is None or stamp is None:
            yield Watched(row, "", "", 0, batch.event_times[row], None)
            continue
        data_type = stamp.get("data_type", "")
        field = time_fields.get(data_type, "")
        time = epoch_ms(record.get(field)) if field else epoch_ms(stamp.get("event_time"))
        version = stamp.get("version", 0)
        fields = record if with_fields else {}
        for name, score in (stamp.get("scores") or {}).items():
            if type(score) is list and len(score) <= LONGEST_SCORE:
                fields |= {f"{SCORES}{name}.{at}": one for at, one in enumerate(score)}
            else:
                fields[SCORES + name] = score
        model = stamp.get("model") or ""
        yield Watched(row, data_type, model, version if type(version) is int else 0, time, fields)


def _stamp(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a job says of a result, taken out of it; None where it says nothing, or what no job says."""
    stamp = record.pop(_OWN, None) if record is not None else None
    if type(stamp) is not dict or not isinstance(stamp.get("scores"), dict | None):
        return None
    names = stamp.get("data_type", ""), stamp.get("model") or ""
    return stamp if all(type(name) is str and len(name) <= NAME_LIMIT for name in names) else None


def _parsed(payloads: Sequence[bytes]) -> Sequence[dict[str, Any] | None]:
    try:
        whole = list(map(orjson.loads, payloads))
        if {dict}.issuperset(map(type, whole)):
            return whole
    except (ValueError, TypeError):
        pass
    return [_one(payload) for payload in payloads]


def _one(payload: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(payload)
    except UnfitError:
        return None
