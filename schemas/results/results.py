"""A result: the record as it came, with a stamp in the field `millrace` as its last one.

The record's bytes are kept and the stamp is appended: parsing and dumping again would cost more than all
the rest. `digest` is the first 16 hex digits of the model's SHA-256, enough to tell versions apart; the
whole digest is in the model's events and statistics. A field `millrace` of the record itself is left out: a
reader that takes the first of two would take it for the stamp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.codecs.base import UnfitError
from schemas.codecs.json_text import parse_json
from schemas.message_columns import COMMA, FEW, Column, Messages
from schemas.results.records import Outcome

DIGEST_DIGITS = 16
_BRACE = ord("}")
_NEEDS_A_LOOK = np.zeros(256, bool)
_NEEDS_A_LOOK[list(b"{ \t\r\n")] = True
_STAMP_SIGNS = (b'"millrace"', b"\\u006", b"\\u007")
"""What a record with a field of the stamp's name has in it: the name, or one of its letters by its code."""


Experiments = Mapping[str, tuple[str, int]]
"""Name -> arm, and step of the ramp counted from 0, of each experiment that a record is part of."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What holds for a whole micro-batch: read from the object that scored it. `ms`: time spent on all of it.

    `reason` says why nothing was scored, and is left out of a scored record's stamp. `signer`: the key that
    signed the model; left out where there is none, as `experiments` are.
    """

    data_type: str
    model: str
    version: int
    digest: str
    outcome: Outcome
    ms: float
    reason: str = ""
    signer: str = ""
    experiments: Experiments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Where each of a micro-batch's n records came from; `event_times` in epoch milliseconds, None where
    there is none."""

    source: str
    partitions: Sequence[int]
    offsets: Sequence[int]
    event_times: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A result read back. `experiments`: name -> arm, and step of the ramp."""

    data_type: str
    outcome: Outcome
    model: str
    version: int
    digest: str
    ms: float
    scores: dict[str, Any]
    source: str
    partition: int
    offset: int
    event_time: int | None
    record: dict[str, Any]
    reason: str = ""
    signer: str = ""
    experiments: Experiments = field(default_factory=dict)


def write_results(
    records: Sequence[bytes],
    stamp: Stamp,
    identity: Identity,
    scores: Mapping[str, NDArray] | None = None,
    rows: Sequence[int] | NDArray | None = None,
) -> Messages:
    """One result for each record of a micro-batch, or for those at the indices `rows`, in their order.

    `records` (each one JSON object) and `identity` are of the whole micro-batch of n; each column of `scores`
    has the shape `(len(rows), *shape)`, or `(n, *shape)` without rows, and holds finite values. Raises
    `ValueError` where the lengths differ or a record does not end in `}`.
    """
    parts: tuple[Sequence[Any], ...] = (
        records, identity.partitions, identity.offsets, identity.event_times
    )  # fmt: skip
    if rows is not None:
        wanted = np.asarray(rows).tolist()
        parts = tuple([part[r] for r in wanted] for part in parts)
    count = len(parts[0])
    ints = [json_column(part, count, "identity") for part in parts[1:]]
    fields = {
        "data_type": stamp.data_type,
        "outcome": stamp.outcome.value,
        "model": stamp.model,
        "version": stamp.version,
        "digest": stamp.digest[:DIGEST_DIGITS],
        "ms": round(stamp.ms, 3),
    }
    if stamp.signer:
        fields["signer"] = stamp.signer
    if stamp.reason:
        fields["reason"] = stamp.reason
    fields |= experiments_field(stamp.experiments)
    columns = [open_bodies(parts[0])]
    constant = b'"millrace":' + orjson.dumps(fields)[:-1] + b',"scores":{'
    comma = b""
    for name, column in (scores or {}).items():
        columns += [Column(constant + comma + orjson.dumps(name) + b":"), json_column(column, count, name)]
        constant, comma = b"", b","
    source = b'},"source":' + orjson.dumps(identity.source) + b',"partition":'
    columns += [Column(constant + source), ints[0], Column(b',"offset":'), ints[1]]
    columns += [Column(b',"event_time":'), ints[2], Column(b"}}")]
    return Messages(columns, count)


def read_result(data: bytes) -> Scored:
    """Read a result back. Raises `ValueError` where `data` is none."""
    return result_of(*record_and_stamp(data))


def record_and_stamp(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two parts of a result. Raises `ValueError` where `data` is none."""
    try:
        record = parse_json(data)
    except UnfitError as e:
        raise ValueError(f"not a result: {e.reason}") from None
    stamp = record.pop("millrace", None) if isinstance(record, dict) else None
    if not isinstance(stamp, dict):
        raise ValueError("not a result: it is no JSON object with an object in the field 'millrace'")
    return record, stamp


def result_of(record: dict[str, Any], stamp: dict[str, Any]) -> Scored:
    """Raises `ValueError` where the stamp lacks a field, or has something else in one."""
    known = {**stamp, "record": record}
    try:
        if "experiments" in known:
            known["experiments"] = {n: (e["arm"], e["step"]) for n, e in known["experiments"].items()}
        return msgspec.convert(known, Scored)
    except (TypeError, KeyError, AttributeError, msgspec.ValidationError) as e:
        raise ValueError(f"not a result: {e}") from None


def experiments_field(experiments: Experiments) -> dict[str, Any]:
    """The stamp's field, where there is an experiment."""
    told = {name: {"arm": arm, "step": step} for name, (arm, step) in experiments.items()}
    return {"experiments": told} if told else {}


def open_bodies(records: Sequence[bytes]) -> Column:
    """Each object without its last brace and ready for one more field: a comma follows, but in an empty one.

    A field `millrace` is left out. Raises `ValueError` for a record that does not end in `}`.
    """
    whole = bytearray().join(records)
    # One look at all of them tells that none has a field of that name, whose letters may be escaped.
    if b"millrace" in whole or b"\\" in whole:
        records = [_without_stamp(r) if any(sign in r for sign in _STAMP_SIGNS) else r for r in records]
        whole = bytearray().join(records)
    lengths = np.fromiter(map(len, records), np.int32, len(records)) if len(records) >= FEW else None
    if lengths is not None and lengths.min() > 1:
        signs = np.frombuffer(whole, np.uint8)
        last = lengths.cumsum(dtype=np.int64) - 1
        # the last two bytes settle the usual record; whitespace or `{` there needs a closer look
        if (signs[last] == _BRACE).all() and not _NEEDS_A_LOOK[signs[last - 1]].any():
            signs[last] = COMMA
            return Column(whole, lengths)
    return Column.of(list(map(_body, records)))


def _without_stamp(record: bytes) -> bytes:
    try:
        values: dict[str, Any] = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):  # it is no object, which is found below
        return record
    if "millrace" not in values:
        return record
    del values["millrace"]
    return msgspec.json.encode(values)  # values as they came, to the last digit


def _body(record: bytes) -> bytes:
    whole = record.rstrip(b" \t\r\n")
    if not whole.endswith(b"}"):
        raise ValueError(f"a record for a result must be a JSON object, not {record[:40]!r}")
    inner = whole[:-1].rstrip(b" \t\r\n")
    return inner if inner == b"{" or inner.lstrip(b" \t\r\n") == b"{" else inner + b","


def json_column(column: Sequence[Any] | NDArray, count: int, name: str) -> Column:
    """Each row's value as JSON: a whole column of numbers is rendered in one call.

    Raises `ValueError` where it has not `count` rows.
    """
    if len(column) != count:
        raise ValueError(f"{name!r} has {len(column)} rows for {count} results")
    if not count:
        return Column.of([])
    if not isinstance(column, np.ndarray):
        return Column.split(orjson.dumps(column if isinstance(column, list) else list(column))[1:-1], count)
    if column.dtype.kind not in "fiub" or 0 in column.shape:
        return Column.of([orjson.dumps(row) for row in column.tolist()])
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    if column.ndim == 1:
        return Column.split(text, count)
    if column.ndim == 2 and count >= FEW:
        return Column.split_lists(text)
    closing, opening = b"]" * (column.ndim - 1), b"[" * (column.ndim - 1)
    inner = text[len(opening) : -len(closing)].split(closing + b"," + opening)
    return Column.of([opening + one + closing for one in inner])
