"""A batch that is being collected: what is known of it, and how it lies in keyed state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.micro_batch import record_count
from schemas.results.answers import Answer, Expectation
from udfs.ensemble.policies import BatchAnswers


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """A batch that is not decided yet, as it lies in state. `expectation` is msgpack."""

    expectation: bytes
    batch: bytes


class Tombstone(msgspec.Struct, frozen=True, tag="decided"):
    """A decided batch, as it lies in state. `missing`: who has not answered -> asked about how many."""

    data_type: str
    deadline: int
    missing: dict[str, int]


class _Identified(msgspec.Struct, frozen=True):
    batch_id: str


def id_of(message: bytes) -> str:
    """The id of the micro-batch that an expectation or an answer (as msgpack) is about."""
    return msgspec.msgpack.decode(message, type=_Identified).batch_id


class BatchStore(Protocol):
    """Keyed state and timers of the batch that is at hand. Times: epoch ms."""

    def now(self) -> int: ...

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        """What `write` was given last, and all that `add` was given."""

    def write(self, state: bytes) -> None: ...

    def add(self, answer: bytes) -> None: ...

    def drop_answers(self) -> None: ...

    def drop(self) -> None:
        """Forget what was written."""

    def wake(self, at: int) -> None:
        """Call `Collecting.woken` at this time."""

    def let_sleep(self, at: int) -> None:
        """Undo `wake`, if there was one."""


class OpenBatch:
    """What is held in memory of a batch that has not ended, in one of three conditions: there are answers
    and no expectation yet, it is waiting to be decided, or it is decided and has a tombstone.

    `early`: answers without an expectation. `kept`: how many answers lie in state. `wakes`: timers set.
    """

    __slots__ = ("answers", "early", "expectation", "kept", "packed", "tombstone", "wakes")

    def __init__(self) -> None:
        self.expectation: Expectation | None = None
        self.packed: bytes | None = None
        self.answers: BatchAnswers | None = None
        self.early: list[Answer] = []
        self.tombstone: Tombstone | None = None
        self.kept = 0
        self.wakes: set[int] = set()

    def expect(self, expectation: bytes, packed: bytes) -> Expectation:
        found = self.expectation = msgspec.msgpack.decode(expectation, type=Expectation)
        self.packed, count = packed, record_count(packed)
        self.answers = BatchAnswers.of(found.asked, count, self.early, found.metrics)
        self.early = []
        return found

    def read_back(self, state: bytes | None, answers: Sequence[bytes]) -> None:
        """Take over what `BatchStore.read` returns."""
        kept = None if state is None else msgspec.msgpack.decode(state, type=Waiting | Tombstone)
        if isinstance(kept, Tombstone):
            self.tombstone = kept
            return
        self.early = [msgspec.msgpack.decode(data, type=Answer) for data in answers]
        self.kept = len(self.early)
        if kept is not None:
            self.expect(kept.expectation, kept.batch)
