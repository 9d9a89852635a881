"""The state machine of a scoring operator, without Flink: announcements in, models switched, blocks scored.

One instance an operator instance, used from its one thread. State lives with the caller: for each data
type a `ModelLog`, handed in once by `restore` and taken out by `log`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from schemas.block import Block
from schemas.codecs.base import Codec
from schemas.errors import ModelError
from schemas.results.records import EventKind, ModelEvent
from udfs.models.background_loader import BackgroundLoader, Load, load_entry
from udfs.models.descriptor import Announcement, parse
from udfs.serving.model_state import Notice, Slot
from udfs.serving.output import Emission, emissions
from udfs.serving.scoring import in_slices, score, unscored


class Serving:
    """Models by data type, switched as loads succeed.

    `load` turns an announcement into a model, or raises a `ModelError`. `max_block` bounds the records of
    one `predict`. `raw_json`: payloads are JSON objects.
    """

    def __init__(self, load: Load, codec: Codec, *, raw_json: bool, max_block: int, subtask: int) -> None:
        self._load, self._codec = load, codec
        self._raw_json, self._max_block, self._subtask = raw_json, max_block, subtask
        self._slots: dict[str, Slot] = {}
        self._loader = BackgroundLoader(load)

    def knows(self, data_type: str) -> bool:
        return data_type in self._slots

    def restore(self, data_type: str, stored: bytes | None) -> Sequence[Notice]:
        """Take over the log of a data type. What served before serves again when this returns.

        Raises the `ModelError` of a model that served before and cannot be loaded now: its store is out of
        reach, most likely, and going on without it would lose it.
        """
        slot = Slot(data_type, stored, self._subtask)
        sent: list[Notice] = []
        for entry in slot.log.candidates():
            loaded = load_entry(self._load, data_type, entry)
            if loaded.error is not None and entry is slot.log.served:
                raise loaded.error
            sent += slot.switch(loaded)
            if slot.model is not None:
                break
        self._slots[data_type] = slot
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        return self._slots[data_type].log.encoded()

    def revision(self, data_type: str) -> int:
        """A number that grows with every change of the log; 0 for one that never changed."""
        return self._slots[data_type].revision if data_type in self._slots else 0

    def serves(self, data_type: str) -> bool:
        return data_type in self._slots and self._slots[data_type].model is not None

    def announce(self, descriptor: bytes, announced: Announcement) -> Sequence[Notice]:
        """Act on an announcement; its data type's log must have been restored. Loading goes on behind."""
        sent = self._slots[announced.data_type].announce(descriptor, announced)
        self._load_next(announced.data_type)
        return sent

    def poll(self) -> Sequence[Notice]:
        """Switch to what has been loaded meanwhile."""
        sent: list[Notice] = []
        for loaded in self._loader.finished():
            sent += self._slots[loaded.data_type].switch(loaded)
            self._load_next(loaded.data_type)
        return sent

    def settle(self) -> Sequence[Notice]:
        """Wait for every load that is under way or queued behind one. For the end of a finite input."""
        sent: list[Notice] = []
        while any(slot.loading for slot in self._slots.values()):
            self._loader.wait()
            sent += self.poll()
        return sent

    def score(self, block: Block) -> Iterator[Emission]:
        """Score a block of a data type that is served."""
        slot = self._slots[block.data_type]
        for part in in_slices(block, self._max_block):
            assert slot.model is not None
            scored = score(part, slot.model, self._codec, self._raw_json)
            if scored.lines:  # else the model was not asked, and its fastest call would be one of 0 ms
                slot.used(len(scored.lines), scored.failures, scored.ms)
            yield from emissions(part, scored)

    def release(self, block: Block, reason: str) -> Iterator[Emission]:
        """Send a block on unscored, marked with the reason."""
        yield from emissions(block, unscored(block, self._codec, self._raw_json, reason))

    def stats(self, data_type: str, every_ms: int = 0) -> Sequence[Notice]:
        """The statistics of the model that serves, where there is news and the last are `every_ms` old."""
        return self._slots[data_type].stats(every_ms) if data_type in self._slots else []

    def unreadable(self, descriptor: bytes) -> ModelEvent:
        """The event for bytes on the model stream that are no valid descriptor."""
        try:
            parse(descriptor)
        except ModelError as e:
            at = time.time_ns() // 1_000_000
            return ModelEvent(EventKind.REFUSED, "", "", 0, "", at, self._subtask, e.step, str(e))
        raise ValueError("the descriptor can be read")

    def close(self) -> None:
        self._loader.close()
        for slot in self._slots.values():
            slot.close()
        self._slots.clear()

    def _load_next(self, data_type: str) -> None:
        entry = self._slots[data_type].next_load()
        if entry is not None:
            self._loader.submit(data_type, entry)
