"""The state machine of a collector, without Flink: decision contexts and answers in, decided batches out.

A batch's life: answers may come before its decision context; once that is there, the batch is decided as
soon as the answers in hand settle it, at the latest at its deadline. From then on answers only count.

What has come is written to keyed state at once. What is held in memory beside it spares reading it back, and
is rebuilt from it after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from schemas.micro_batch import decode_micro_batch
from schemas.results.answers import Answer
from udfs.ensemble.collection.deciding import Decider
from udfs.ensemble.collection.open_batch import BatchStore, LateAnswerRecord, OpenBatch, Waiting
from udfs.ensemble.collection.tally import Tallies
from udfs.ensemble.policies import Decision
from udfs.serving.output import Output

ORPHAN_MS = 120_000
"""How long an answer waits for its decision context: twice the longest deadline."""


class Collecting:
    """The batches of one operator instance, used from its one thread.

    `linger_ms`: how long after its deadline a decided batch waits for who has not answered.
    """

    def __init__(self, decider: Decider, tallies: Tallies, linger_ms: int) -> None:
        self._decider, self._tallies, self._linger_ms = decider, tallies, linger_ms
        self._open: dict[str, OpenBatch] = {}

    def expect(self, batch_id: str, context: bytes, packed: bytes, store: BatchStore) -> Iterator[Output]:
        """A decision context has come."""
        known = self._known(batch_id, store)
        if known.late_answers is not None or known.context is not None:
            return  # the same batch once more: it is decided once
        deadline = known.expect(context, packed).deadline
        decision = self._settled(known)
        if decision is not None:
            yield from self._decide(batch_id, known, decision, store)
            return
        store.write(msgspec.msgpack.encode(Waiting(context, packed)))
        self._wake(known, deadline, store)

    def answer(self, batch_id: str, came: Sequence[Answer], store: BatchStore) -> Iterator[Output]:
        """Answers about a batch have come, together."""
        known = self._known(batch_id, store)
        if known.late_answers is not None:
            self._count(batch_id, known, came, store)
            return
        if known.answers is None:
            known.early += came
            if not known.wakes:
                self._wake(known, store.now() + ORPHAN_MS, store)
        else:
            came = [answer for answer in came if known.answers.add(answer)]
            if came and (decision := self._settled(known)) is not None:
                yield from self._decide(batch_id, known, decision, store)
                return
        if came:
            store.add([msgspec.msgpack.encode(answer) for answer in came])
            known.kept += len(came)

    def woken(self, batch_id: str, store: BatchStore) -> Iterator[Output]:
        """A time that was given to `wake` has come."""
        known = self._found(batch_id, store)
        if known is None:
            return
        if known.late_answers is not None:
            gone = known.late_answers.deadline + self._linger_ms
            if store.now() >= gone:
                self._expire(batch_id, known, store)
            else:
                self._wake(known, gone, store)
        elif known.context is None:
            self._forget(batch_id, known, store)
        elif store.now() >= known.context.deadline:
            yield from self._decide(batch_id, known, self._final(known), store)
        else:  # a clock that was set back
            self._wake(known, known.context.deadline, store)

    def restored(self, batch_id: str, store: BatchStore) -> Iterator[Output]:
        """What was open when the state was written is open again, and decided now if it is overdue."""
        known = self._found(batch_id, store)
        if known is None or known.wakes:
            return
        if known.late_answers is not None:
            at = known.late_answers.deadline + self._linger_ms
        elif known.context is not None:
            at = known.context.deadline
        else:
            at = store.now() + ORPHAN_MS
        if at <= store.now():
            yield from self.woken(batch_id, store)
        else:
            self._wake(known, at, store)

    def ended(self, batch_id: str, store: BatchStore) -> Iterator[Output]:
        """The input has ended, and with it all answers."""
        known = self._found(batch_id, store)
        if known is None:
            return
        if known.context is not None:
            yield from self._decide(batch_id, known, self._final(known), store)
        if known.late_answers is not None:
            self._expire(batch_id, known, store)
        elif batch_id in self._open:
            self._forget(batch_id, known, store)

    def stats(self) -> Iterator[Output]:
        """Statistics of the candidates about whom there is news."""
        return self._tallies.news()

    def _known(self, batch_id: str, store: BatchStore) -> OpenBatch:
        """What is known of a batch; one that nothing is known of begins here."""
        known = self._found(batch_id, store)
        if known is None:
            known = self._open[batch_id] = OpenBatch()
        return known

    def _found(self, batch_id: str, store: BatchStore) -> OpenBatch | None:
        """What memory knows of a batch, or else state."""
        known = self._open.get(batch_id)
        if known is not None:
            return known
        state, answers = store.read()
        if state is None and not answers:
            return None
        known = self._open[batch_id] = OpenBatch()
        known.read_back(state, answers)
        return known

    def _settled(self, known: OpenBatch) -> Decision | None:
        assert known.context is not None and known.answers is not None
        return self._decider.settled(known.context, known.answers)

    def _final(self, known: OpenBatch) -> Decision:
        assert known.context is not None and known.answers is not None
        return self._decider.final(known.context, known.answers)

    def _decide(
        self, batch_id: str, known: OpenBatch, decision: Decision, store: BatchStore
    ) -> Iterator[Output]:
        asked, packed, answers = known.context, known.packed, known.answers
        assert asked is not None and packed is not None and answers is not None
        now = store.now()
        yield from self._decider.decided(asked, decode_micro_batch(packed), answers, decision, now)
        self._tallies.add(asked.data_type, answers, decision)
        missing = {e.name: int(e.expected.sum()) for e in answers.entries if e.answer is None}
        known.context = known.packed = known.answers = None
        if not missing:
            self._forget(batch_id, known, store)
            return
        known.late_answers = LateAnswerRecord(asked.data_type, asked.deadline, missing)
        store.write(msgspec.msgpack.encode(known.late_answers))
        if known.kept:
            store.drop_answers()
            known.kept = 0
        over = now >= asked.deadline
        self._wake(known, asked.deadline + (self._linger_ms if over else 0), store)

    def _count(self, batch_id: str, known: OpenBatch, came: Sequence[Answer], store: BatchStore) -> None:
        """Answers after the decision."""
        late = known.late_answers
        assert late is not None
        missing = dict(late.missing)
        for answer in came:
            if (records := missing.pop(answer.candidate, None)) is not None:
                self._tallies.came_after(answer, records, late=store.now() >= late.deadline)
        if len(missing) == len(late.missing):
            return
        if not missing:
            self._forget(batch_id, known, store)
            return
        known.late_answers = msgspec.structs.replace(late, missing=missing)
        store.write(msgspec.msgpack.encode(known.late_answers))

    def _expire(self, batch_id: str, known: OpenBatch, store: BatchStore) -> None:
        """Stop waiting for missing answers."""
        late = known.late_answers
        assert late is not None
        for name, records in late.missing.items():
            self._tallies.never_came(late.data_type, name, records)
        self._forget(batch_id, known, store)

    def _forget(self, batch_id: str, known: OpenBatch, store: BatchStore) -> None:
        for at in known.wakes:
            store.let_sleep(at)
        if known.kept:
            store.drop_answers()
        store.drop()
        del self._open[batch_id]

    def _wake(self, known: OpenBatch, at: int, store: BatchStore) -> None:
        known.wakes.add(at)
        store.wake(at)
