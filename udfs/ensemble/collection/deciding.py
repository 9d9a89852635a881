"""From the answers about a batch to what leaves: decided results and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.codecs.base import Code, Codec
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import Fallback, Plan, read_plan
from schemas.results.answers import DecisionContext
from schemas.results.dead_letter import dead_letter
from schemas.results.decided import DecidedStamp, Part, write_decided
from schemas.results.records import DeadLetter
from schemas.tensors import BadRecord
from udfs.ensemble.policies import BatchAnswers, CandidateEntry, Decision, decide
from udfs.serving.output import Output, outputs
from udfs.serving.scoring import ScoredRecords, identity_of

_NOBODY = "no candidate was asked"
_UNPARSABLE = "the record cannot be parsed"

plan_of = lru_cache(maxsize=1024)(read_plan)
"""Few plans decide many batches."""


class Decider:
    """Decides batches by the plan that each was routed with.

    `raw_json`: payloads are JSON objects, to which a result appends; otherwise `codec.to_json` makes one.
    """

    def __init__(self, codec: Codec, raw_json: bool) -> None:
        self._codec, self._raw_json = codec, raw_json

    def settled(self, context: DecisionContext, answers: BatchAnswers) -> Decision | None:
        """The decision, where no answer that may still come can change it."""
        policy, entries = _plan(context).policy, answers.entries
        if entries and all(entry.answer is None for entry in entries) and not isinstance(policy, Fallback):
            return None  # what else would be settled without any answer can wait for the first one
        decision = decide(policy, answers, final=False)
        return None if decision.waiting.any() else decision

    def final(self, context: DecisionContext, answers: BatchAnswers) -> Decision:
        """The decision by the answers in hand."""
        return decide(_plan(context).policy, answers)

    def decided(
        self, context: DecisionContext, batch: MicroBatch, answers: BatchAnswers, decision: Decision, now: int
    ) -> Iterator[Output]:
        """Each record of the batch, as a result or as a dead letter. `now`: epoch ms."""
        records, dead = self._records(batch, answers)
        parts = _reasoned(decision.parts, answers)
        if dead:
            keep = np.ones(len(batch), dtype=bool)
            keep[[row for row, _ in dead]] = False
            parts = _only(parts, keep)
        stamp = DecidedStamp(
            context.data_type,
            context.plan_name,
            context.plan_version,
            context.deadline - context.created,
            float(now - context.created),
            {one.name: (one.arm, one.step)} if (one := context.experiment) else {},
        )
        reported = answers.reported(final=now >= context.deadline)
        lines, rows = write_decided(records, stamp, identity_of(batch), parts, reported)
        yield from outputs(batch, ScoredRecords(lines, rows, [letter for _, letter in dead]))

    def _records(
        self, batch: MicroBatch, answers: BatchAnswers
    ) -> tuple[Sequence[bytes], list[tuple[int, DeadLetter]]]:
        """Each record as a JSON object, and those that are none, or that nobody who was asked could read."""
        read = np.zeros(len(batch), dtype=bool)
        for entry in answers.entries:
            read |= entry.scored
        if self._raw_json and read.all():
            return batch.payloads, []
        records = list(batch.payloads)
        dead: list[tuple[int, DeadLetter]] = []
        rows = np.flatnonzero(~read).tolist() if self._raw_json else range(len(batch))
        for row in rows:
            bad = None if read[row] else _unfit(answers.entries, row)
            if bad is None:
                text = self._codec.to_json(batch.payloads[row])
                if text is None:
                    bad = BadRecord(row, Code.UNPARSABLE.value, _UNPARSABLE)
                elif not self._raw_json:
                    records[row] = text
            if bad is not None:
                dead.append((row, dead_letter(batch, bad)))
        return records, dead


def _plan(context: DecisionContext) -> Plan:
    return plan_of(context.plan)


def _unfit(entries: Sequence[CandidateEntry], row: int) -> BadRecord | None:
    """Why nobody can score the record, where everyone who was asked to decide about it says so."""
    asked = [entry for entry in entries if not entry.shadow and entry.expected[row]]
    found = [entry.answer for entry in asked if entry.answer is not None and row in entry.answer.unfit]
    if not asked or len(found) < len(asked):
        return None
    reasons = {answer.candidate: answer.bad.get(row, "") for answer in found}
    same = len(set(reasons.values())) == 1
    reason = found[0].bad.get(row, "") if same else "; ".join(f"{n}: {r}" for n, r in reasons.items())
    return BadRecord(row, found[0].unfit[row], reason)


def _only(parts: Sequence[Part], keep: NDArray) -> list[Part]:
    """The records of parts that are to be kept."""
    kept = []
    for part in parts:
        some = keep[part.rows]
        if some.all():
            kept.append(part)
        elif some.any():
            columns = {name: column[some] for name, column in part.columns.items()}
            kept.append(replace(part, rows=part.rows[some], columns=columns))
    return kept


def _reasoned(parts: Sequence[Part], answers: BatchAnswers) -> Sequence[Part]:
    """With the plain reason for records that nobody was asked about."""
    if all(part.decided for part in parts):
        return parts
    asked = np.zeros(answers.count, dtype=bool)
    for entry in answers.entries:
        if not entry.shadow:
            asked |= entry.expected
    if asked.all():
        return parts
    found: list[Part] = []
    for part in parts:
        if part.decided:
            found.append(part)
            continue
        found += _only([part], asked) + _only([replace(part, reason=_NOBODY)], ~asked)
    return found
