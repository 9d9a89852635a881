"""The state machine of a collector, without Flink: expectations and answers in, decided blocks out.

A block's life: answers may come before its expectation; once that is there, the block is decided as soon as
the answers in hand settle it, at the latest at its deadline. From then on answers only count.

What has come is written to keyed state at once. What is held in memory beside it spares reading it back, and
is rebuilt from it after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from schemas.block import PackedBlock, unpack
from schemas.results.answers import Answer
from udfs.ensemble.collection.deciding import Decider
from udfs.ensemble.collection.open_block import BlockStore, OpenBlock, Tombstone, Waiting
from udfs.ensemble.collection.tally import Tallies
from udfs.ensemble.policies import Decision
from udfs.serving.output import Emission

ORPHAN_MS = 120_000
"""How long an answer waits for its expectation: twice the longest deadline."""


class Collecting:
    """The blocks of one operator instance, used from its one thread.

    `linger_ms`: how long after its deadline a decided block waits for who has not answered.
    """

    def __init__(self, decider: Decider, tallies: Tallies, linger_ms: int) -> None:
        self._decider, self._tallies, self._linger_ms = decider, tallies, linger_ms
        self._blocks: dict[str, OpenBlock] = {}

    def expect(
        self, block_id: str, expectation: bytes, packed: PackedBlock, store: BlockStore
    ) -> Iterator[Emission]:
        """An expectation has come."""
        known = self._known(block_id, store)
        if known.tombstone is not None or known.expectation is not None:
            return  # the same block once more: it is decided once
        deadline = known.expect(expectation, packed).deadline
        decision = self._settled(known)
        if decision is not None:
            yield from self._decide(block_id, known, decision, store)
            return
        store.write(msgspec.msgpack.encode(Waiting(expectation, packed)))
        self._wake(known, deadline, store)

    def answer(self, block_id: str, data: bytes, store: BlockStore) -> Iterator[Emission]:
        """An answer has come."""
        known = self._known(block_id, store)
        answer = msgspec.msgpack.decode(data, type=Answer)
        if known.tombstone is not None:
            self._count(block_id, known, answer, store)
            return
        if known.answers is None:
            known.early.append(answer)
            if not known.wakes:
                self._wake(known, store.now() + ORPHAN_MS, store)
        elif not known.answers.add(answer):
            return
        elif (decision := self._settled(known)) is not None:
            yield from self._decide(block_id, known, decision, store)
            return
        store.add(data)
        known.kept += 1

    def woken(self, block_id: str, store: BlockStore) -> Iterator[Emission]:
        """A time that was given to `wake` has come."""
        known = self._found(block_id, store)
        if known is None:
            return
        if known.tombstone is not None:
            gone = known.tombstone.deadline + self._linger_ms
            if store.now() >= gone:
                self._bury(block_id, known, store)
            else:
                self._wake(known, gone, store)
        elif known.expectation is None:
            self._forget(block_id, known, store)
        elif store.now() >= known.expectation.deadline:
            yield from self._decide(block_id, known, self._final(known), store)

    def ended(self, block_id: str, store: BlockStore) -> Iterator[Emission]:
        """The input has ended, and with it all answers."""
        known = self._found(block_id, store)
        if known is None:
            return
        if known.expectation is not None:
            yield from self._decide(block_id, known, self._final(known), store)
        if known.tombstone is not None:
            self._bury(block_id, known, store)
        elif block_id in self._blocks:
            self._forget(block_id, known, store)

    def stats(self) -> Iterator[Emission]:
        """Statistics of the candidates about whom there is news."""
        return self._tallies.news()

    def _known(self, block_id: str, store: BlockStore) -> OpenBlock:
        """What is known of a block; one that nothing is known of begins here."""
        known = self._found(block_id, store)
        if known is None:
            known = self._blocks[block_id] = OpenBlock()
            store.tell_end()
        return known

    def _found(self, block_id: str, store: BlockStore) -> OpenBlock | None:
        """What memory knows of a block, or else state."""
        known = self._blocks.get(block_id)
        if known is not None:
            return known
        state, answers = store.read()
        if state is None and not answers:
            return None
        known = self._blocks[block_id] = OpenBlock()
        known.read_back(state, answers)
        return known

    def _settled(self, known: OpenBlock) -> Decision | None:
        assert known.expectation is not None and known.answers is not None
        return self._decider.settled(known.expectation, known.answers)

    def _final(self, known: OpenBlock) -> Decision:
        assert known.expectation is not None and known.answers is not None
        return self._decider.final(known.expectation, known.answers)

    def _decide(
        self, block_id: str, known: OpenBlock, decision: Decision, store: BlockStore
    ) -> Iterator[Emission]:
        asked, packed, answers = known.expectation, known.packed, known.answers
        assert asked is not None and packed is not None and answers is not None
        now = store.now()
        yield from self._decider.decided(asked, unpack(packed), answers, decision, now)
        self._tallies.add(asked.data_type, answers, decision)
        missing = {e.name: int(e.expected.sum()) for e in answers.entries if e.answer is None}
        known.expectation = known.packed = known.answers = None
        if not missing:
            self._forget(block_id, known, store)
            return
        known.tombstone = Tombstone(asked.data_type, asked.deadline, missing)
        store.write(msgspec.msgpack.encode(known.tombstone))
        if known.kept:
            store.drop_answers()
            known.kept = 0
        over = now >= asked.deadline
        self._wake(known, asked.deadline + (self._linger_ms if over else 0), store)

    def _count(self, block_id: str, known: OpenBlock, answer: Answer, store: BlockStore) -> None:
        """An answer after the decision."""
        tombstone = known.tombstone
        assert tombstone is not None
        missing = dict(tombstone.missing)
        records = missing.pop(answer.candidate, None)
        if records is None:
            return
        self._tallies.came_after(answer, records, late=store.now() >= tombstone.deadline)
        if not missing:
            self._forget(block_id, known, store)
            return
        known.tombstone = msgspec.structs.replace(tombstone, missing=missing)
        store.write(msgspec.msgpack.encode(known.tombstone))

    def _bury(self, block_id: str, known: OpenBlock, store: BlockStore) -> None:
        """Who has not answered by now is not waited for any more."""
        tombstone = known.tombstone
        assert tombstone is not None
        for name, records in tombstone.missing.items():
            self._tallies.never_came(tombstone.data_type, name, records)
        self._forget(block_id, known, store)

    def _forget(self, block_id: str, known: OpenBlock, store: BlockStore) -> None:
        for at in known.wakes:
            store.let_sleep(at)
        if known.kept:
            store.drop_answers()
        store.drop()
        del self._blocks[block_id]

    def _wake(self, known: OpenBlock, at: int, store: BlockStore) -> None:
        known.wakes.add(at)
        store.wake(at)
