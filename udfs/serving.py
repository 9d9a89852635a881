"""The state machine of a scoring operator, without Flink: announcements in, models switched, blocks scored.

One instance an operator instance, used from its one thread. State lives with the caller: for each data
type a `ModelLog`, handed in once by `restore` and taken out by `log`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.block import Block
from schemas.codecs.base import Codec
from schemas.errors import ModelError
from schemas.records import EventKind, ModelEvent, ModelToServeStats
from udfs.background_loader import BackgroundLoader, Load, Loaded, load_entry
from udfs.descriptor import WITHDRAW, Announcement, parse
from udfs.emission import Emission, emissions
from udfs.loaded_model import LoadedModel
from udfs.model_log import Entry, ModelLog
from udfs.scoring import in_slices, score, unscored
from udfs.usage import Usage


@dataclass(slots=True)
class _Slot:
    """One data type: its log, the model that scores, and how it has been used."""

    log: ModelLog
    model: LoadedModel | None = None
    usage: Usage | None = None
    loading: set[int] = field(default_factory=set)
    changed: bool = False
    stats_at: int = 0


class Serving:
    """Models by data type, switched as loads succeed.

    `load` turns an announcement into a model, or raises a `ModelError`. `max_block` bounds the records of
    one `predict`. `raw_json`: payloads are JSON objects.
    """

    def __init__(self, load: Load, codec: Codec, *, raw_json: bool, max_block: int, subtask: int) -> None:
        self._load, self._codec = load, codec
        self._raw_json, self._max_block, self._subtask = raw_json, max_block, subtask
        self._slots: dict[str, _Slot] = {}
        self._loader = BackgroundLoader(load)

    def knows(self, data_type: str) -> bool:
        return data_type in self._slots

    def restore(self, data_type: str, stored: bytes | None) -> list[Emission]:
        """Take over the log of a data type. What served before serves again when this returns.

        Raises the `ModelError` of a model that served before and cannot be loaded now: its store is out of
        reach, most likely, and going on without it would lose it.
        """
        slot = self._slots[data_type] = _Slot(ModelLog.decode(stored))
        served = slot.log.served
        sent: list[Emission] = []
        for entry in slot.log.candidates():
            loaded = load_entry(self._load, data_type, entry)
            if loaded.error is not None and entry is served:
                raise loaded.error
            sent += self._switch(loaded)
            if slot.model is not None:
                break
        slot.changed = False
        return sent

    def log(self, data_type: str) -> bytes:
        """The state of a data type, to be stored by the caller."""
        self._slots[data_type].changed = False
        return self._slots[data_type].log.encoded()

    def changed(self, data_type: str) -> bool:
        """Whether the log is another one than when it was last restored or taken."""
        return data_type in self._slots and self._slots[data_type].changed

    def serves(self, data_type: str) -> bool:
        return data_type in self._slots and self._slots[data_type].model is not None

    def announce(self, descriptor: bytes, announced: Announcement) -> list[Emission]:
        """Act on an announcement; its data type's log must have been restored. Loading goes on behind."""
        slot = self._slots[announced.data_type]
        slot.changed = True
        if announced.operation == WITHDRAW:
            return self._withdraw(slot, announced)
        try:
            entry = slot.log.accept(announced, descriptor)
        except ModelError as e:
            return [self.refusal(announced, e)]
        if entry is None:
            kind, version = EventKind.ALREADY_SERVED, announced.version
            return [self._event(kind, announced.data_type, announced.name, version, announced.sha256)]
        if not slot.loading:
            self._submit(announced.data_type, slot, entry)
        return []

    def poll(self) -> list[Emission]:
        """Switch to what has been loaded meanwhile."""
        sent: list[Emission] = []
        for loaded in self._loader.finished():
            slot = self._slots[loaded.data_type]
            slot.loading.discard(id(loaded.entry))
            sent += self._switch(loaded)
            waiting = slot.log.newest_pending()
            if waiting is not None and not slot.loading:
                self._submit(loaded.data_type, slot, waiting)
        return sent

    def settle(self) -> list[Emission]:
        """Wait for every load that is under way or queued behind one. For the end of a finite input."""
        sent: list[Emission] = []
        while any(slot.loading for slot in self._slots.values()):
            self._loader.wait()
            sent += self.poll()
        return sent

    def score(self, block: Block) -> Iterator[Emission]:
        """Score a block of a data type that is served."""
        slot = self._slots[block.data_type]
        assert slot.model is not None and slot.usage is not None
        for part in in_slices(block, self._max_block):
            scored = score(part, slot.model, self._codec, self._raw_json)
            slot.usage.add(len(scored.lines), scored.failures, scored.ms)
            yield from emissions(part, scored)

    def release(self, block: Block, reason: str) -> Iterator[Emission]:
        """Send a block on unscored, marked with the reason."""
        yield from emissions(block, unscored(block, self._codec, self._raw_json, reason))

    def stats(self, data_type: str, every_ms: int = 0) -> list[ModelToServeStats]:
        """The statistics of the model that serves, where there is news and the last are `every_ms` old."""
        slot = self._slots.get(data_type)
        now = time.time_ns() // 1_000_000
        if slot is None or slot.usage is None or not slot.usage.changed() or now - slot.stats_at < every_ms:
            return []
        slot.stats_at = now
        return [slot.usage.stats()]

    def refusal(self, announced: Announcement, error: ModelError) -> ModelEvent:
        return self._event(
            EventKind.REFUSED,
            announced.data_type,
            announced.name,
            announced.version,
            announced.sha256,
            step=error.step,
            reason=str(error),
        )

    def unreadable(self, descriptor: bytes) -> ModelEvent:
        """The event for bytes on the model stream that are no valid descriptor."""
        try:
            parse(descriptor)
        except ModelError as e:
            return self._event(EventKind.REFUSED, "", "", 0, "", step=e.step, reason=str(e))
        raise ValueError("the descriptor can be read")

    def close(self) -> None:
        self._loader.close()
        for slot in self._slots.values():
            if slot.model is not None:
                slot.model.close()
        self._slots.clear()

    def _submit(self, data_type: str, slot: _Slot, entry: Entry) -> None:
        slot.loading.add(id(entry))
        self._loader.submit(data_type, entry)

    def _switch(self, loaded: Loaded) -> list[Emission]:
        slot, entry = self._slots[loaded.data_type], loaded.entry
        slot.changed = True
        ms = loaded.seconds * 1000
        about = (loaded.data_type, entry.name, entry.version)
        if loaded.model is None:
            assert loaded.error is not None
            slot.log.refused(entry)
            error = loaded.error
            return [
                self._event(
                    EventKind.REFUSED, *about, entry.sha256, step=error.step, reason=str(error), load_ms=ms
                )
            ]
        if entry not in slot.log.candidates():  # withdrawn while it was loading
            loaded.model.close()
            return []
        sent: list[Emission] = self._retire(slot)
        for older in slot.log.loaded(entry):
            sent.append(
                self._event(EventKind.SUPERSEDED, loaded.data_type, older.name, older.version, older.sha256)
            )
        slot.model, slot.usage = loaded.model, Usage(loaded.model.stamp, self._subtask)
        digest = loaded.model.stamp.digest
        return [*sent, self._event(EventKind.SERVED, *about, digest, load_ms=ms)]

    def _withdraw(self, slot: _Slot, announced: Announcement) -> list[Emission]:
        gone = slot.log.withdraw(announced.name)
        sent: list[Emission] = []
        if slot.model is not None and slot.log.served is None:
            sent += self._retire(slot)
        for entry in gone:
            kind = EventKind.WITHDRAWN
            sent.append(self._event(kind, announced.data_type, entry.name, entry.version, entry.sha256))
        return sent

    def _retire(self, slot: _Slot) -> list[Emission]:
        if slot.model is None or slot.usage is None:
            return []
        last: list[Emission] = [slot.usage.stats(serving=False)]
        slot.model.close()
        slot.model = slot.usage = None
        return last

    def _event(
        self, kind: EventKind, data_type: str, name: str, version: int, digest: str, **more: object
    ) -> ModelEvent:
        at = time.time_ns() // 1_000_000
        return ModelEvent(kind, data_type, name, version, digest, at, self._subtask, **more)  # type: ignore[arg-type]
