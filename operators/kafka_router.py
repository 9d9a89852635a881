"""Records read where they are routed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from operators.direct_reading import DirectReading, DirectSpec
from operators.router import RouterOperator, data_type_of
from schemas.block import Block
from udfs.speculation.router_spec import RouterSpec


class KafkaRouter(DirectReading, RouterOperator):
    """Ticks on input 1, descriptors on input 2, both keyed as in `RouterOperator`."""

    def __init__(self, spec: RouterSpec, direct: DirectSpec) -> None:
        super().__init__(spec)
        self.direct = direct

    def prepared(self, key: str, ctx: Any) -> Iterator[Any]:
        self._ready(key, data_type_of(key), ctx)
        yield from ()

    def rows_of(self, key: str, block: Block) -> Iterator[Any]:
        yield from self._routed(key, block)

    def kept(self, key: str) -> None:
        self._keep(key, data_type_of(key))
