"""A batch that is being collected: what is known of it, and how it lies in keyed state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.micro_batch import record_count
from schemas.results.answers import Answer, DecisionContext
from udfs.ensemble.policies import BatchAnswers


class Waiting(msgspec.Struct, frozen=True, tag="waiting", rename={"context": "expectation"}):
    """A batch that is not decided yet, as it lies in state: there, `context` (msgpack) has its first name."""

    context: bytes
    batch: bytes


class LateAnswerRecord(msgspec.Struct, frozen=True, tag="decided"):
    """What is kept of a decided batch in state, to count the answers that come too late.

    `missing`: who has not answered -> asked about how many.
    """

    data_type: str
    deadline: int
    missing: dict[str, int]


class _Identified(msgspec.Struct, frozen=True):
    batch_id: str


def id_of(context: bytes) -> str:
    """The id of the micro-batch that a decision context (as msgpack) is about."""
    return _IDENTIFIED_DECODER.decode(context).batch_id


class BatchStore(Protocol):
    """Keyed state and timers of the batch that is at hand. Times: epoch ms."""

    def now(self) -> int: ...

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        """What `write` and `add` were given before the start, or nothing: asked for once, before all else."""

    def write(self, state: bytes) -> None: ...

    def add(self, answers: Sequence[bytes]) -> None: ...

    def drop_answers(self) -> None: ...

    def drop(self) -> None:
        """Forget what was written."""

    def wake(self, at: int) -> None:
        """Call `Collecting.woken` at this time."""

    def let_sleep(self, at: int) -> None:
        """Undo `wake`, if there was one."""


class OpenBatch:
    """What memory has of a batch that has not ended, in one of three conditions: there are answers and no
    decision context yet, it is waiting to be decided, or it is decided and answers are missing.

    `early`: answers without a decision context. `kept`: how many answers lie in state. `wakes`: timers set.
    """

    __slots__ = ("answers", "context", "early", "kept", "late_answers", "packed", "wakes")

    def __init__(self) -> None:
        self.context: DecisionContext | None = None
        self.packed: bytes | None = None
        self.answers: BatchAnswers | None = None
        self.early: list[Answer] = []
        self.late_answers: LateAnswerRecord | None = None
        self.kept = 0
        self.wakes: set[int] = set()

    def expect(self, context: bytes, packed: bytes) -> DecisionContext:
        found = self.context = _CONTEXT_DECODER.decode(context)
        self.packed, count = packed, record_count(packed)
        self.answers = BatchAnswers.of(found.asked, count, self.early, found.metrics)
        self.early = []
        return found

    def read_back(self, state: bytes | None, answers: Sequence[bytes]) -> None:
        """Take over what `BatchStore.read` returns."""
        kept = None if state is None else _STATE_DECODER.decode(state)
        if isinstance(kept, LateAnswerRecord):
            self.late_answers = kept
            return
        self.early = [_ANSWER_DECODER.decode(data) for data in answers]
        self.kept = len(self.early)
        if kept is not None:
            self.expect(kept.context, kept.batch)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_IDENTIFIED_DECODER = msgspec.msgpack.Decoder(_Identified)
_CONTEXT_DECODER = msgspec.msgpack.Decoder(DecisionContext)
_STATE_DECODER = msgspec.msgpack.Decoder(Waiting | LateAnswerRecord)
_ANSWER_DECODER = msgspec.msgpack.Decoder(Answer)
