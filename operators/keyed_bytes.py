"""Bytes by name in keyed state."""

from __future__ import annotations

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor


class KeyedBytes:
    """What is under the current key."""

    def __init__(self, context: RuntimeContext, name: str) -> None:
        self._state = context.get_map_state(
            MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def get(self, name: str) -> bytes | None:
        packed = self._state.get(name)
        return None if packed is None else bytes(packed)

    def put(self, name: str, value: bytes) -> None:
        self._state.put(name, value)
