"""The key groups of one instance, for state that outlives another parallelism."""

from __future__ import annotations

from collections.abc import Iterable

from pyflink.datastream.functions import RuntimeContext

from operators.flink_internals import instance_of, key_setter
from operators.key_groups import KeyGroups
from schemas.errors import StoreError


class OwnGroups:
    """What belongs to a key group lies under the key of that key group: `enter` makes it the current one.

    `own`: the numbers of this instance's key groups; `key`: the one that it works under. Calls must `leave`
    before they set timers or return.
    """

    def __init__(self, context: RuntimeContext, groups: KeyGroups) -> None:
        self._instance, self._parallelism = instance_of(context)
        self._set_key, self._keys = key_setter(context), groups.keys
        self.own = groups.of_instance(self._instance, self._parallelism)
        self.key = groups.keys[self.own.start]
        self._current = -1

    @property
    def count(self) -> int:
        """The number of key groups of all instances."""
        return len(self._keys)

    def enter(self, group: int) -> None:
        """Raises `StoreError` for a key group of another instance."""
        if group != self._current:
            self._set_key(self._key_of(group))
            self._current = group

    def keys_of(self, groups: Iterable[int]) -> list[str]:
        """Their keys, for a call that makes them current itself. Raises `StoreError` as `enter` does."""
        self._current = -1
        return [*map(self._key_of, groups)]

    def leave(self, key: str) -> None:
        """Make the key current again that Flink called the operator for."""
        self._set_key(key)
        self._current = -1

    def _key_of(self, group: int) -> str:
        if group not in self.own:
            raise StoreError(
                f"something of key group {group} came to instance {self._instance} of {self._parallelism}, "
                f"which has the key groups {self.own.start} to {self.own.stop - 1}: all operators of this "
                "job need the same parallelism"
            )
        return self._keys[group]
