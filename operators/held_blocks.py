"""Keyed state for blocks that wait for their data type's first model."""

from __future__ import annotations

import time
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from schemas.block import Block
from udfs.serving.buffering import Held, HoldPolicy


class HeldBlocks:
    """The blocks held back under the current key, in order, and their account."""

    def __init__(self, context: RuntimeContext, policy: HoldPolicy) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._policy = policy
        self._blocks = context.get_list_state(ListStateDescriptor("held-blocks", pickled))
        self._account = context.get_state(ValueStateDescriptor("held-account", pickled))
        # Reading state costs a call into the JVM for each block; a key once found empty stays known.
        self._empty: set[Any] = set()

    def add(self, key: str, block: Block) -> None:
        held = Held(*(self._account.value() or (0, 0)))
        if not held.records:
            held.since = _now()
        held.records += len(block)
        self._blocks.add(block)
        self._account.update((held.records, held.since))
        self._empty.discard(key)

    def any(self, key: str) -> bool:
        if key in self._empty:
            return False
        if self._account.value() is None:
            self._empty.add(key)
            return False
        return True

    def overdue(self) -> str:
        """Why the hold must end, or an empty string."""
        account = self._account.value()
        return Held(*account).exceeded(self._policy, _now()) if account else ""

    def take(self, key: str) -> list[Block]:
        """All held blocks; none is held afterwards."""
        blocks = list(self._blocks.get() or [])
        self._blocks.clear()
        self._account.clear()
        self._empty.add(key)
        return blocks


def _now() -> int:
    return time.time_ns() // 1_000_000
