"""A decided result: as other results, the record as it came with a stamp in the field `millrace`.

What both kinds of stamp hold has one name in both, so that whoever reads results reads these too: `model`,
`version`, `digest` and `signer` are of the candidate whose answer was chosen (empty where several were
combined, a fixed value was taken, or nothing was decided), `ms` is the time from the creation of the
micro-batch to its decision. Beyond that, a decided result says which rule of which plan decided, and what
every candidate answered, in the order in which the answers arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.message_columns import Column, Messages
from schemas.results.records import Outcome
from schemas.results.results import (
    DIGEST_DIGITS,
    Experiments,
    Identity,
    Scored,
    experiments_field,
    json_column,
    open_bodies,
    record_and_stamp,
    result_of,
)


class AnswerState(StrEnum):
    """What had become of a candidate's answer about a record when it was decided."""

    SCORED = "scored"
    """It came in time."""
    LATE = "late"
    """It had not come at the deadline, or came after it."""
    DECLINED = "declined"
    """The candidate was not asked, since it could not have answered in time; `reason` says why."""
    FAILED = "failed"
    """The model failed on this record; `reason` says how."""
    PENDING = "pending"
    """The decision did not wait for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Records of a micro-batch that one rule decided in the same way, or that none could decide.

    `rows`: their indices in the micro-batch, ascending. `columns`: the decided outputs, each
    `(len(rows), *shape)`. `by`: the candidate whose answer was chosen, empty where several were combined
    or a fixed value taken. `rule`: the policy of the chain that decided, empty where none could; then
    `reason` says why.
    """

    rows: NDArray
    columns: Mapping[str, NDArray] = field(default_factory=dict)
    by: str = ""
    rule: str = ""
    reason: str = ""

    @property
    def decided(self) -> bool:
        return bool(self.rule)


@dataclass(frozen=True, slots=True)
class Reported:
    """What one candidate made of a micro-batch of n records.

    `expected`, `scored`: bool `(n,)`, which records it was asked about and which it scored. `columns`: its
    outputs, each `(n, *shape)`, to be read where `scored`. `bad`: index -> why that record was not.
    `state`: SCORED where there are columns in time, LATE where there are columns or none. `waited_ms` is None
    where there is no answer.
    """

    candidate: str
    state: AnswerState
    expected: NDArray
    scored: NDArray
    columns: Mapping[str, NDArray] = field(default_factory=dict)
    bad: Mapping[int, str] = field(default_factory=dict)
    version: int = 0
    digest: str = ""
    ms: float = 0.0
    waited_ms: float | None = None
    shadow: bool = False
    reason: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class DecidedStamp:
    """What holds for all of a micro-batch. `deadline_ms` from its creation, `ms` from it to the decision."""

    data_type: str
    plan: str
    plan_version: int
    deadline_ms: int
    ms: float
    experiments: Experiments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """A candidate's answer about one record, read back."""

    outcome: AnswerState
    version: int = 0
    digest: str = ""
    ms: float = 0.0
    waited_ms: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    shadow: bool = False
    reason: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided result read back. `result` holds what all results have; `answers` by order of arrival."""

    result: Scored
    rule: str
    plan: str
    plan_version: int
    deadline_ms: int
    answers: dict[str, CandidateAnswer]


class _Decision(msgspec.Struct):
    """What a stamp has beyond that of any result."""

    rule: str
    plan: str
    plan_version: int
    deadline_ms: int
    answers: dict[str, CandidateAnswer]


def write_decided(
    records: Sequence[bytes],
    stamp: DecidedStamp,
    identity: Identity,
    parts: Iterable[Part],
    answers: Sequence[Reported],
) -> tuple[Messages, list[int] | None]:
    """One result for each record that is in a part, in the order of the micro-batch, and their indices (None:
    all).

    `records` (each one JSON object), `identity` and `answers` are of the whole micro-batch of n; what stands
    in `records` for one that is in no part is not looked at. Values are finite. Raises `ValueError` where
    lengths differ, a record is in two parts, or one in a part does not end in `}`.
    """
    count = len(records)
    decisions = _decisions(stamp, parts, answers, count)
    rows = None if all(decisions) else [row for row, text in enumerate(decisions) if text]
    lists: list[Sequence[Any]] = [records, decisions, _answers(answers, count)]
    lists += [identity.partitions, identity.offsets, identity.event_times]
    if rows is not None:
        lists = [[column[row] for row in rows] for column in lists]
    count = len(lists[0])
    partitions, offsets, times = (json_column(column, count, "identity") for column in lists[3:])
    columns = [open_bodies(lists[0]), Column(b'"millrace":'), Column.of(lists[1])]
    columns += [Column(b',"source":' + orjson.dumps(identity.source) + b',"partition":'), partitions]
    columns += [Column(b',"offset":'), offsets, Column(b',"event_time":'), times]
    columns += [Column(b',"answers":{'), Column.of(lists[2]), Column(b"}}}")]
    return Messages(columns, count), rows


def read_decided(data: bytes) -> Decided:
    """Read a decided result back. Raises `ValueError` where `data` is none."""
    record, stamp = record_and_stamp(data)
    try:
        said = msgspec.convert(stamp, _Decision)
    except msgspec.ValidationError as e:
        raise ValueError(f"not a decided result: {e}") from None
    return Decided(
        result_of(record, stamp), said.rule, said.plan, said.plan_version, said.deadline_ms, said.answers
    )


def _decisions(
    stamp: DecidedStamp, parts: Iterable[Part], answers: Sequence[Reported], count: int
) -> list[bytes]:
    """The stamp of each record as far as its scores, without the closing brace; empty where there is none."""
    made_by = {answer.candidate: answer for answer in answers}
    found = [b""] * count
    for part in parts:
        winner = made_by.get(part.by)
        head = {
            "data_type": stamp.data_type,
            "outcome": (Outcome.SCORED if part.decided else Outcome.UNDECIDED).value,
            "model": part.by,
            "version": winner.version if winner else 0,
            "digest": winner.digest[:DIGEST_DIGITS] if winner else "",
            "ms": round(stamp.ms, 3),
            "rule": part.rule,
            "plan": stamp.plan,
            "plan_version": stamp.plan_version,
            "deadline_ms": stamp.deadline_ms,
            **experiments_field(stamp.experiments),
            **({"signer": winner.signer} if winner and winner.signer else {}),
            **({"reason": part.reason} if part.reason else {}),
        }
        rows = part.rows.tolist()
        for row, text in zip(rows, _with_scores(head, part.columns, len(rows)), strict=False):
            if found[row]:
                raise ValueError(f"record {row} is in two parts of a decision")
            found[row] = text
    return found


def _answers(answers: Sequence[Reported], count: int) -> list[bytes]:
    """What stands between the braces of `answers`, for each record."""
    columns = [_reported(answer, count) for answer in answers]
    if not columns:
        return [b""] * count
    if all(answer.expected.all() for answer in answers):
        return list(map(b",".join, zip(*columns, strict=True)))
    return [b",".join(filter(None, texts)) for texts in zip(*columns, strict=True)]


def _reported(answer: Reported, count: int) -> list[bytes]:
    """`"candidate":{...}` for each record; empty where it was not asked."""
    name = orjson.dumps(answer.candidate) + b":"
    fields: dict[str, Any] = {"outcome": answer.state.value}
    if answer.version or answer.digest:
        fields |= {"version": answer.version, "digest": answer.digest[:DIGEST_DIGITS]}
    if answer.signer:
        fields["signer"] = answer.signer
    if answer.waited_ms is not None:
        fields |= {"ms": round(answer.ms, 3), "waited_ms": round(answer.waited_ms, 3)}
    if answer.shadow:
        fields["shadow"] = True
    scored = answer.scored & answer.expected
    missing = dict(fields)
    if answer.state is AnswerState.SCORED:
        missing["outcome"] = AnswerState.FAILED.value
    if answer.reason:
        missing["reason"] = answer.reason
    found = [name + orjson.dumps(missing)] * count
    if scored.all():
        whole = _with_scores(fields, answer.columns, count, name)
        return [text + b"}" for text in whole]
    rows = np.flatnonzero(scored)
    columns = {output: column[rows] for output, column in answer.columns.items()}
    for row, text in zip(rows.tolist(), _with_scores(fields, columns, len(rows), name), strict=False):
        found[row] = text + b"}"
    for row, reason in answer.bad.items():
        if 0 <= row < count and not scored[row]:
            found[row] = name + orjson.dumps({**missing, "reason": reason})
    for row in np.flatnonzero(~answer.expected).tolist():
        found[row] = b""
    return found


def _with_scores(
    head: dict[str, Any], columns: Mapping[str, NDArray], count: int, before: bytes = b""
) -> Messages:
    """`before`, and an object of `head` and the row's scores without its closing brace, for each row."""
    texts: list[Column] = []
    constant = before + orjson.dumps(head)[:-1] + b',"scores":{'
    for name, column in columns.items():
        texts += [Column(constant + orjson.dumps(name) + b":"), json_column(column, count, name)]
        constant = b","
    return Messages([*texts, Column(b"}" if columns else constant + b"}")], count)
