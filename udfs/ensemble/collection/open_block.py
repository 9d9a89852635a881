"""A block that is being collected: what is known of it, and how it lies in keyed state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.block import PackedBlock
from schemas.results.answers import Answer, Expectation
from udfs.ensemble.policies import BlockAnswers


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """A block that is not decided yet, as it lies in state. `expectation` is msgpack."""

    expectation: bytes
    block: PackedBlock


class Tombstone(msgspec.Struct, frozen=True, tag="decided"):
    """A decided block, as it lies in state. `missing`: who has not answered -> asked about how many."""

    data_type: str
    deadline: int
    missing: dict[str, int]


class BlockStore(Protocol):
    """Keyed state and timers of the block that is at hand. Times: epoch ms."""

    def now(self) -> int: ...

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        """What `write` was given last, and all that `add` was given."""

    def write(self, state: bytes) -> None: ...

    def add(self, answer: bytes) -> None: ...

    def drop_answers(self) -> None: ...

    def drop(self) -> None:
        """Forget what was written, and that the end of the input was to be told."""

    def wake(self, at: int) -> None:
        """Call `Collecting.woken` at this time."""

    def let_sleep(self, at: int) -> None:
        """Undo `wake`, if there was one."""

    def tell_end(self) -> None:
        """Call `Collecting.ended` at the end of the input."""


class OpenBlock:
    """What is held in memory of a block that has not ended, in one of three conditions: there are answers
    and no expectation yet, it is waiting to be decided, or it is decided and has a tombstone.

    `early`: answers without an expectation. `kept`: how many answers lie in state. `wakes`: timers set.
    """

    __slots__ = ("answers", "early", "expectation", "kept", "packed", "tombstone", "wakes")

    def __init__(self) -> None:
        self.expectation: Expectation | None = None
        self.packed: PackedBlock | None = None
        self.answers: BlockAnswers | None = None
        self.early: list[Answer] = []
        self.tombstone: Tombstone | None = None
        self.kept = 0
        self.wakes: set[int] = set()

    def expect(self, expectation: bytes, packed: PackedBlock) -> Expectation:
        found = self.expectation = msgspec.msgpack.decode(expectation, type=Expectation)
        self.packed = packed
        self.answers = BlockAnswers.of(found.asked, packed.count, self.early, found.metrics)
        self.early = []
        return found

    def read_back(self, state: bytes | None, answers: Sequence[bytes]) -> None:
        """Take over what `BlockStore.read` returns."""
        kept = None if state is None else msgspec.msgpack.decode(state, type=Waiting | Tombstone)
        if isinstance(kept, Tombstone):
            self.tombstone = kept
            return
        self.early = [msgspec.msgpack.decode(data, type=Answer) for data in answers]
        self.kept = len(self.early)
        if kept is not None:
            self.expect(kept.expectation, kept.block)
