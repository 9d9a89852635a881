"""Which entities an experiment has counted, in keyed state."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any


class CountedEntities:
    """`udfs.lifecycle.experiments.controlling.Counted` in a map state, by a digest of each entity."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def new(self, experiment: str, entity: str) -> bool:
        key = f"{experiment}/{blake2b(entity.encode(), digest_size=16).hexdigest()}"
        if self._state.contains(key):
            return False
        self._state.put(key, b"")
        return True

    def forget(self, experiment: str) -> None:
        for key in [key for key in self._state.keys() if key.rpartition("/")[0] == experiment]:  # noqa: SIM118
            self._state.remove(key)
