"""Micro-batches of each data type scored in their order, while no other data type waits for them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from operators.buffer import Buffer
from schemas.micro_batch import MicroBatch
from udfs.ensemble.routing.arms import Arms
from udfs.serving.output import Output
from udfs.serving.serving import Serving


class InOrder:
    """Scores what this job is to score. What cannot be scored now waits under its key in `buffer`: there is
    no model, or a call has taken longer than `patience_ms`. What comes later waits behind it.

    A micro-batch is in state or scored whenever a call here has ended, so that a checkpoint has it: a call
    that is under way is made again after a restart.
    """

    def __init__(
        self, serving: Serving, arms: Arms, buffer: Buffer, patience_ms: float, max_batch: int
    ) -> None:
        self._serving, self._arms, self._buffer = serving, arms, buffer
        self._patience, self._max_batch = patience_ms / 1000, max_batch
        # By data type, the key under which something waits although there is a model.
        self._behind_call: dict[str, str] = {}

    def is_slow(self, key: str) -> bool:
        """Whether something waits under the key that time alone gets scored: look again soon."""
        return bool(self._behind_call) and key in self._behind_call.values()

    def score(self, key: str, batch: MicroBatch) -> Iterator[Output]:
        """Score a micro-batch after those before it, or keep it."""
        data_type = batch.data_type
        if self._buffer.any(key, data_type):
            yield from self.waited(key, data_type)
        waits = data_type in self._behind_call or self._buffer.any(key, data_type)
        if self._serving.serves(data_type) and not waits:
            yield from self._own(key, batch, "", self._patience)
            return
        self._buffer.add(key, batch)
        if not self._serving.serves(data_type) or self._buffer.full(key, data_type):
            yield from self.waited(key, data_type)

    def waited(self, key: str, data_type: str, ended: bool = False) -> Iterator[Output]:
        """What waits is scored where there is a model now, and let go where it has waited for too long. A
        call is waited for at the end of the input, and where no more may wait behind it."""
        serving, buffer = self._serving, self._buffer
        # What gathered behind a slow call would have come as one micro-batch, had it been waited for.
        most = self._max_batch if data_type in self._behind_call else 0
        # Another parallelism left records under a key of its own: they are few, and waiting is simplest.
        other = self._behind_call.get(data_type, key) != key
        if other:
            del self._behind_call[data_type]
            if serving.under_way(data_type):
                serving.forget(data_type)
        until, begun = time.monotonic() + self._patience, False
        reason = "no model at the end of the input" if ended else ""
        while buffer.any(key, data_type):
            if ended:
                yield from serving.settle()
            wait = ended or other or buffer.full(key, data_type)
            if serving.serves(data_type):
                over = begun and time.monotonic() > until
                if not wait and (over or serving.waits(data_type)):
                    self._behind_call[data_type] = key
                    return
            else:
                reason = reason or buffer.overdue(key, data_type)
                if not reason:
                    break
            yield from self._first(key, data_type, most, reason, math.inf if wait else self._patience)
            begun = True
        self._behind_call.pop(data_type, None)

    def _first(self, key: str, data_type: str, most: int, reason: str, seconds: float) -> Iterator[Output]:
        """Go on with what waits in front; of what is new, with so many records."""
        resumed = self._serving.under_way(data_type)
        batch = self._buffer.first(key, data_type, 0 if resumed else most)
        assert batch is not None
        if not resumed:
            # Where the model is set aside in the middle, the caller looks for the one before it.
            serves = self._serving.serves(data_type)
            yield from self._own(key, batch, "" if serves else reason, seconds)
            return
        rest = yield from self._serving.resume(data_type, seconds)
        if rest is not None:
            self._buffer.put_back(key, rest)

    def _own(self, key: str, batch: MicroBatch, reason: str, seconds: float) -> Iterator[Output]:
        """What this job is to score: scored, or without a model let go for `reason`. What a call of more than
        `seconds` is under way for waits on, and where a call has just set the model aside."""
        serving = self._serving
        parts, left = self._arms.own(batch)
        serving.left(batch.data_type, left)
        for number, (part, experiments) in enumerate(parts):
            rest: MicroBatch | None = part
            if serving.serves(part.data_type):
                rest = yield from serving.score(part, experiments, seconds)
            elif reason:
                yield from serving.release(part, reason, experiments)
                rest = None
            if rest is None:
                continue
            for later in reversed([rest, *(other for other, _ in parts[number + 1 :])]):
                self._buffer.put_back(key, later)
            if serving.serves(part.data_type):
                self._behind_call[part.data_type] = key
            return
