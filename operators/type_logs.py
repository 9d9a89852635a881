"""What an operator knows of data types, in keyed state that every instance of the next run finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.flink_internals import instance_of, key_setter
from operators.key_groups import KeyGroups


class TypeLogs:
    """A log for each data type: versioned bytes, see `schemas/state`.

    With key groups, an instance works under one key and writes what it knows under the key of each group that
    it owns: after a restart at another parallelism every instance finds it. Without, a key is a data type,
    and has its own log only.
    """

    def __init__(self, context: RuntimeContext, name: str, groups: KeyGroups | None) -> None:
        self._state = context.get_map_state(
            MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )
        self._set_key = key_setter(context)
        self._own: Sequence[str] = () if groups is None else groups.keys_of_instance(*instance_of(context))
        self._written: dict[str, int] = {}
        self._read: set[str] = set()

    def unread(self, key: str) -> dict[str, bytes]:
        """Data type -> log under the current key, at the first call for it; then nothing."""
        if key in self._read:
            return {}
        self._read.add(key)
        return {data_type: bytes(log) for data_type, log in self._state.items()}

    def keep(self, key: str, data_type: str, revision: int, encoded: Callable[[str], bytes]) -> None:
        """Write a log whose revision is not the one that was written last. `key` is the current one."""
        if self._written.get(data_type, 0) == revision:
            return
        self._written[data_type] = revision
        log = encoded(data_type)
        if not self._own:
            self._state.put(data_type, log)
            return
        for own in self._own:
            self._set_key(own)
            self._state.put(data_type, log)
        self._set_key(key)
