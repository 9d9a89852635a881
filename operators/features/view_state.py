"""Flink state of an instance's views: what belongs to a key group lies under the key of that key group."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.datastream.functions import RuntimeContext

from operators.grouped_map import GroupedMap
from operators.key_groups import KeyGroups
from operators.own_groups import OwnGroups
from udfs.features.base import END, Changes, Fetch
from udfs.features.entity_keys import key_group
from udfs.features.saved import empty_from

_FORGET_MS = 3_600_000
"""Entities are looked at, whether they can be forgotten, in steps of so much event time."""


class ViewState:
    """Calls leave another key current than the one that they were called under: see `OwnGroups`.

    `headers` has an entry for each view, `entities` one for each view and entity; names are VIEW and
    VIEW/ENTITY. What the values are, `udfs.features.saved` says.
    """

    def __init__(self, context: RuntimeContext, groups: KeyGroups) -> None:
        self.groups = OwnGroups(context, groups)
        self._headers = GroupedMap(context, self.groups, "headers")
        self._entities = GroupedMap(context, self.groups, "entities")
        self._swept = dict.fromkeys(self.groups.own, -(2**63) // _FORGET_MS)

    def headers(self) -> dict[str, list[bytes]]:
        """View -> the headers of the key groups of this instance."""
        found: dict[str, list[bytes]] = {}
        for group in self.groups.own:
            for view, header in self._headers.items(group):
                found.setdefault(view, []).append(header)
        return found

    def fetch(self, view: str) -> Fetch:
        def fetch(keys: Sequence[bytes]) -> list[bytes | None]:
            groups = [key_group(key, self.groups.count) for key in keys]
            wanted: dict[int, list[str]] = {}
            for group, key in zip(groups, keys, strict=True):
                wanted.setdefault(group, []).append(_name(view, key))
            found = {group: iter(values) for group, values in self._entities.read(wanted).items()}
            return [next(found[group]) for group in groups]

        return fetch

    def write(self, view: str, changes: Changes) -> None:
        """All of it is one call of a Flink function, so that a checkpoint has it or not."""
        self._headers.change({group: {view: header} for group, header in changes.headers.items()})
        self._entities.change(
            {
                group: {_name(view, key): packed for key, packed in entities.items()}
                for group, entities in changes.entities.items()
            }
        )

    def sweep(self, watermark: int) -> None:
        """Forget entities that time alone has emptied, of at most one key group."""
        step = watermark // _FORGET_MS
        due = next((group for group, at in self._swept.items() if at < step), None)
        if due is None or watermark == END:
            return
        self._swept[due] = step
        empty = [name for name, packed in self._entities.items(due) if empty_from(packed) <= watermark]
        self._entities.change({due: dict.fromkeys(empty)})


def _name(view: str, key: bytes) -> str:
    """As a key of map state: Java's byte arrays equal nothing but themselves, and would never be found."""
    return f"{view}/{key.decode('latin-1')}"
