"""The references beside a source in Flink state: once for each view, whatever the number of its instances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice

import pyarrow as pa
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.flink_internals import change_map, key_setter
from operators.key_groups import KeyGroups
from schemas.features.feature_batch import reference_of
from udfs.features.events.decode_spec import ReferenceSpec
from udfs.features.versions import Versions

_RESIDENT = 100_000
_MOST = 10_000
"""Keys whose rows are sent again as one batch."""


class ReferenceState:
    """Of an operator of one instance; all of it lies under the first key. Names are VIEW/REFERENCE/KEY, and
    values what `udfs.features.versions` makes."""

    def __init__(self, context: RuntimeContext, spec: ReferenceSpec, groups: KeyGroups) -> None:
        kinds = Types.STRING(), Types.PICKLED_BYTE_ARRAY()
        self._state = context.get_map_state(MapStateDescriptor("references", *kinds))
        self._set_key, self._key = key_setter(context), groups.keys[0]
        self._spec = spec
        self._versions: dict[tuple[str, str], Versions] = {}

    def leave(self, key: str) -> None:
        """Make the key current again that Flink called the operator for."""
        self._set_key(key)

    def all(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """View and rows of everything that is kept. Once, before anything is taken."""
        self._set_key(self._key)
        views = {view for stream in self._spec.streams() for view in stream.views}
        names = sorted(name for name in map(str, self._state.keys()) if name.split("/", 1)[0] in views)
        for (view, reference), own in groupby(names, key=lambda name: tuple(name.split("/", 2)[:2])):
            versions = self._of(view, reference)
            while some := [*islice(own, _MOST)]:
                entries = ((_key(name), bytes(self._state.get(name))) for name in some)
                yield view, versions.restored(entries)

    def take(self, view: str, rows: pa.RecordBatch) -> None:
        """Rows of a reference as they come."""
        self._set_key(self._key)
        versions = self._of(view, reference_of(rows))
        versions.take(rows)
        self._write(view, reference_of(rows), versions, None)

    def forget(self, view: str, watermark: int) -> None:
        """What no event of the view after this watermark can see."""
        self._set_key(self._key)
        for (of, reference), versions in self._versions.items():
            if of == view:
                self._write(view, reference, versions, watermark)

    def _write(self, view: str, reference: str, versions: Versions, watermark: int | None) -> None:
        changes = versions.changes(watermark).items()
        change_map(self._state, {_name(view, reference, key): packed for key, packed in changes})
        versions.evict(_RESIDENT)

    def _of(self, view: str, reference: str) -> Versions:
        if (view, reference) not in self._versions:

            def fetch(key: bytes) -> bytes | None:
                found = self._state.get(_name(view, reference, key))
                return None if found is None else bytes(found)

            self._versions[view, reference] = self._spec.versions(view, reference, fetch)
        return self._versions[view, reference]


def _name(view: str, reference: str, key: bytes) -> str:
    return f"{view}/{reference}/{key.decode('latin-1')}"


def _key(name: str) -> bytes:
    return name.split("/", 2)[2].encode("latin-1")
