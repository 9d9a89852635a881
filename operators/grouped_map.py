"""Map state of many key groups, touched in one call of Flink."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.flink_internals import change_map, grouped_map
from operators.own_groups import OwnGroups


class GroupedMap:
    """Bytes by name in the key groups of an instance. Calls leave another key current: see `OwnGroups`.

    Each call from Python to Flink gives the interpreter up, and waits behind whatever computes then. So in
    thread mode a call serves all names of all key groups. In process mode Flink has none that does.
    """

    def __init__(self, context: RuntimeContext, groups: OwnGroups, name: str) -> None:
        self._state = context.get_map_state(
            MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )
        self._groups, self._java = groups, grouped_map(context, self._state)

    def names(self, group: int) -> list[str]:
        self._groups.enter(group)
        return [str(name) for name in self._state.keys()]  # noqa: SIM118 - a state, not a dict

    def items(self, group: int) -> Iterator[tuple[str, bytes]]:
        """In no order. Nothing else may be asked of state before the end."""
        self._groups.enter(group)
        for name, value in self._state.items():
            yield str(name), bytes(value)

    def one(self, group: int, name: str) -> bytes | None:
        self._groups.enter(group)
        found = self._state.get(name)
        return None if found is None else bytes(found)

    def read(self, wanted: Mapping[int, Sequence[str]]) -> dict[int, list[bytes | None]]:
        """By key group the values of its names, in order; None where there is none."""
        if self._java is None:
            return {group: [self.one(group, name) for name in names] for group, names in wanted.items()}
        found = map(_unpickled, self._java.get(*self._laid_out(wanted)))
        return {group: list(islice(found, len(names))) for group, names in wanted.items()}

    def change(self, changes: Mapping[int, Mapping[str, bytes | None]]) -> None:
        """Put the values of names; a name whose value is None is removed."""
        if not changes:
            return
        if self._java is None:
            for group, of_group in changes.items():
                self._groups.enter(group)
                change_map(self._state, of_group)
            return
        values = chain.from_iterable(of_group.values() for of_group in changes.values())
        pickled = [None if value is None else pickle.dumps(value) for value in values]
        self._java.change(*self._laid_out(changes), pickled)

    def _laid_out(
        self, names: Mapping[int, Sequence[str] | Mapping[str, bytes | None]]
    ) -> tuple[list[str], list[int], list[str]]:
        """As `millrace.GroupedMap` takes them: keys, how many names each has, and the names."""
        return (
            self._groups.keys_of(names),
            [*map(len, names.values())],
            [*chain.from_iterable(names.values())],
        )


def _unpickled(value: bytes | None) -> bytes | None:
    """As PyFlink keeps a value of map state, in both modes."""
    return None if value is None else pickle.loads(value)  # noqa: S301 - what `change` has written
