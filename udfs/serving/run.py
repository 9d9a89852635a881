"""A micro-batch on its way through a model, which may be left in the middle of a call and taken up again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress

from schemas.codecs.base import Codec
from schemas.errors import PredictError
from schemas.micro_batch import MicroBatch
from schemas.results.results import Experiments
from schemas.tensors import Columns
from udfs.serving.scoring import ScoredRecords, Steps, scoring
from udfs.serving.timed_calls import Call, TimedModel


class Run:
    """Scores a micro-batch, all of whose records are part of `experiments`, in slices of at most `max_batch`
    records. A model has one run at a time."""

    def __init__(  # noqa: PLR0917
        self,
        batch: MicroBatch,
        model: TimedModel,
        codec: Codec,
        raw_json: bool,
        max_batch: int,
        experiments: Experiments,
    ) -> None:
        self.model = model
        self._batch, self._codec, self._raw_json = batch, codec, raw_json
        self._max_batch, self._experiments = max_batch, experiments
        self._at = 0
        self._steps: Steps[ScoredRecords] | None = None
        self._columns: Columns = {}
        self._call: Call | None = None
        self._idle = 0.0  # seconds in which a call had come back and nobody looked

    def go(self, seconds: float) -> Iterator[tuple[MicroBatch, ScoredRecords]]:
        """Slices as they are done: all, or those that are within so long, with `rest` still to come."""
        until = time.monotonic() + seconds
        if self._call is not None and self._call.done:
            self._idle += time.perf_counter() - self._call.ended
        while self._at < len(self._batch):
            part = self._batch
            if len(part) > self._max_batch:
                part = part.slice(self._at, self._at + self._max_batch)
            scored = self._scored(part, until)
            if scored is None:
                return
            self._steps = None
            self._at += len(part)
            yield part, scored

    def rest(self) -> MicroBatch | None:
        """The records that no slice which is done had; None where all are done."""
        if self._at >= len(self._batch):
            return None
        return self._batch.slice(self._at, len(self._batch)) if self._at else self._batch

    def waits(self) -> bool:
        """Whether to go on would be to wait for a call."""
        return self._call is not None and not self._call.due()

    def drop(self) -> None:
        """Make nothing of it: a call that is under way is left to itself, and its model with it."""
        if self._call is not None:
            self.model.leave(self._call)

    def end(self) -> None:
        """Make nothing of it, and wait until its model may be called again, or is given up."""
        if self._call is not None:
            with suppress(PredictError):
                while self.model.answer(self._call, math.inf) is None:
                    pass

    def _scored(self, part: MicroBatch, until: float) -> ScoredRecords | None:
        try:
            if self._steps is None:
                self._steps = scoring(
                    part, self.model, self._codec, self._raw_json, self._experiments, self._clock
                )
                self._columns = next(self._steps)
            while True:
                try:
                    if self._call is None:
                        self._call = self.model.ask(self._columns)
                    answer = self.model.answer(self._call, until - time.monotonic())
                except PredictError as e:
                    self._call = None
                    self._columns = self._steps.throw(e)
                    continue
                if answer is None:
                    if time.monotonic() < until:
                        continue
                    return None
                self._call = None
                self._columns = self._steps.send(answer)
        except StopIteration as made:
            return made.value

    def _clock(self) -> float:
        return time.perf_counter() - self._idle
