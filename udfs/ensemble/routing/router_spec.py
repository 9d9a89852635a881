"""Everything the router needs to know, as one value that travels with the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.codecs.factory import CodecSpec, make_codec
from udfs.ensemble.routing.router import Router
from udfs.serving.buffering import HoldPolicy


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """`main`: the model type whose requests leave on the main output. `max_block` in records.

    Keys are `LANE/DATA_TYPE`. `tick_ms` is how often the operator looks for overdue holds.
    """

    main: str
    codec: CodecSpec = field(default_factory=CodecSpec)
    hold: HoldPolicy = field(default_factory=HoldPolicy)
    max_block: int = 1024
    tick_ms: int = 100

    def router(self, subtask: int) -> Router:
        """The state machine for one operator instance. Raises `CodecError`."""
        return Router(
            make_codec(self.codec),
            raw_json=self.codec.kind == "json",
            max_block=self.max_block,
            subtask=subtask,
        )
