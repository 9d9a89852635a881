"""The references beside a source in Flink state: once for each view, whatever the number of its instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import pyarrow as pa
from pyflink.datastream.functions import RuntimeContext

from operators.grouped_map import GroupedMap
from operators.key_groups import KeyGroups
from operators.own_groups import OwnGroups
from schemas.features.feature_batch import reference_of
from udfs.features.events.decode_spec import ReferenceSpec
from udfs.features.versions import Versions

_GROUP = 0
_RESIDENT = 100_000
_MOST = 10_000
"""Keys whose rows are sent again as one batch."""


class ReferenceState:
    """Of an operator of one instance; all of it lies under the key of the first key group. Names are
    VIEW/REFERENCE/KEY, and values what `udfs.features.versions` makes."""

    def __init__(self, context: RuntimeContext, spec: ReferenceSpec, groups: KeyGroups) -> None:
        self._groups = OwnGroups(context, groups)
        self._state = GroupedMap(context, self._groups, "references")
        self._spec = spec
        self._versions: dict[tuple[str, str], Versions] = {}

    def leave(self, key: str) -> None:
        """Make the key current again that Flink called the operator for."""
        self._groups.leave(key)

    def all(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """View and rows of everything that is kept. Once, before anything is taken."""
        views = {view for stream in self._spec.streams() for view in stream.views}
        names = sorted(name for name in self._state.names(_GROUP) if name.split("/", 1)[0] in views)
        for (view, reference), own in groupby(names, key=lambda name: tuple(name.split("/", 2)[:2])):
            versions = self._of(view, reference)
            while some := [*islice(own, _MOST)]:
                packed = self._state.read({_GROUP: some})[_GROUP]
                found = zip(map(_key, some), packed, strict=True)
                yield view, versions.restored((key, one) for key, one in found if one is not None)

    def take(self, view: str, rows: pa.RecordBatch) -> None:
        """Rows of a reference as they come."""
        versions = self._of(view, reference_of(rows))
        versions.take(rows)
        self._write(view, reference_of(rows), versions, None)

    def forget(self, view: str, watermark: int) -> None:
        """What no event of the view after this watermark can see."""
        for (of, reference), versions in self._versions.items():
            if of == view:
                self._write(view, reference, versions, watermark)

    def _write(self, view: str, reference: str, versions: Versions, watermark: int | None) -> None:
        changes = versions.changes(watermark).items()
        self._state.change({_GROUP: {_name(view, reference, key): packed for key, packed in changes}})
        versions.evict(_RESIDENT)

    def _of(self, view: str, reference: str) -> Versions:
        if (view, reference) not in self._versions:

            def fetch(keys: Sequence[bytes]) -> list[bytes | None]:
                return self._state.read({_GROUP: [_name(view, reference, key) for key in keys]})[_GROUP]

            self._versions[view, reference] = self._spec.versions(view, reference, fetch)
        return self._versions[view, reference]


def _name(view: str, reference: str, key: bytes) -> str:
    return f"{view}/{reference}/{key.decode('latin-1')}"


def _key(name: str) -> bytes:
    return name.split("/", 2)[2].encode("latin-1")
