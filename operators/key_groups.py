"""Flink's key groups, and one key for each of them.

Flink assigns keys to instances by hash, so that a handful of names falls unevenly. With one key a key group,
each chosen so that Flink's own assignment puts it there, any parallelism up to the number of key groups is
even, and an instance of a source can give what it read to the instance of the same number behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

DEFAULT_KEY_GROUPS = 128
"""Flink's own default for a parallelism of up to 85."""


@dataclass(frozen=True, slots=True)
class KeyGroups:
    """`keys`: one a key group, in their order."""

    keys: tuple[str, ...]

    def of_instance(self, index: int, parallelism: int) -> range:
        """The key groups that an instance owns: Flink's `computeKeyGroupRangeForOperatorIndex`."""
        groups = len(self.keys)
        first = (index * groups + parallelism - 1) // parallelism
        last = ((index + 1) * groups - 1) // parallelism
        return range(first, last + 1)

    def keys_of_instance(self, index: int, parallelism: int) -> tuple[str, ...]:
        """Their keys; the first is the one under which the instance works."""
        own = self.of_instance(index, parallelism)
        return self.keys[own.start : own.stop]

    def keys_of_parts(self, parts: int) -> tuple[str, ...]:
        """Of as many instances the keys under which they work."""
        return tuple(self.keys_of_instance(part, parts)[0] for part in range(parts))


def key_groups(env: StreamExecutionEnvironment) -> KeyGroups:
    """The key groups of a job, whose maximum parallelism is set where nothing has set it."""
    groups = env.get_max_parallelism()
    if groups <= 0:
        groups = DEFAULT_KEY_GROUPS
        env.set_max_parallelism(groups)
    java = get_gateway().jvm
    assign = java.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    row = java.org.apache.flink.types.Row(1)
    keys: dict[int, str] = {}
    for number in count():
        row.setField(0, str(number))
        keys.setdefault(assign(row, groups), str(number))
        if len(keys) == groups:
            return KeyGroups(tuple(keys[group] for group in range(groups)))
    raise AssertionError("unreachable")
