"""Everything the router needs to know, as one value that travels with the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.codecs.factory import CodecSpec
from udfs.ensemble.routing.router import Router
from udfs.io.record_codecs import open_codec
from udfs.models.quotas import Quotas
from udfs.serving.buffering import BufferPolicy


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """`main`: the model type whose requests leave on the main output. `max_batch` in records.

    `timer_ms` is how often the operator looks for records that have waited for too long.
    """

    main: str
    codec: CodecSpec = field(default_factory=CodecSpec)
    buffer: BufferPolicy = field(default_factory=BufferPolicy)
    max_batch: int = 1024
    timer_ms: int = 100
    quotas: Quotas = field(default_factory=Quotas)

    def router(self, subtask: int) -> Router:
        """The state machine for one operator instance. Raises `CodecError`."""
        return Router(
            open_codec(self.codec),
            raw_json=self.codec.raw_json,
            max_batch=self.max_batch,
            subtask=subtask,
            quotas=self.quotas,
        )
