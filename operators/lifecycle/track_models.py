"""What jobs and publishers tell of models, into the registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.rows import to_rows
from schemas.micro_batch import decode_micro_batch
from udfs.lifecycle.repository.tracking import Told, Tracker, TrackSpec


class TrackModels(KeyedProcessFunction):
    """Micro-batches of one kind of message. No main output; side output DEAD_LETTERS.

    It keeps no state: the registry takes what comes again after a restart for what it is.
    """

    def __init__(self, spec: TrackSpec, kind: Told) -> None:
        self._code = code_digest()
        self._spec, self._kind = spec, kind
        self._opened: Tracker | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._tracker = self._opened = self._spec.tracker(self._kind)

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        yield from to_rows(self._tracker.take(decode_micro_batch(value)))
