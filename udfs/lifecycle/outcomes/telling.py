"""Quality of one data type as it is kept and told: which windows are open, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
import pyarrow as pa

from schemas.lifecycle.quality import ALL, QualityRecord
from schemas.versioned import read_versioned
from udfs.lifecycle.outcomes.counting import Counter
from udfs.lifecycle.outcomes.progress import END
from udfs.lifecycle.quality.exchange import quality_record
from udfs.lifecycle.quality.windows import Quality, QualityKey, read_sums, write_sums


class Windows(msgspec.Struct, array_like=True):
    """`settled`: key group -> event time up to which its predictions have been settled. Windows before
    `closed` get nothing more. For state."""

    settled: dict[int, int] = {}
    closed: int = 0
    version: int = 1


def encode_windows(windows: Windows) -> bytes:
    return msgspec.msgpack.encode(windows)


def decode_windows(data: bytes) -> Windows:
    """Raises `StateError` for other bytes and for a newer version."""
    return read_versioned(_WINDOWS.decode, data, "windows of quality")


_WINDOWS = msgspec.msgpack.Decoder(Windows)


def name_of(key: QualityKey) -> str:
    """A key as a key of state."""
    return msgspec.json.encode(key).decode()


def key_named(name: str) -> QualityKey:
    return _KEY_DECODER.decode(name)


class KeptQuality:
    """`groups`: how many key groups there are. `linger_ms`: how long a window whose predictions are all
    settled stays open for late ones."""

    def __init__(self, counter: Counter, groups: int, window_ms: int, linger_ms: int) -> None:
        self._counter, self._groups = counter, groups
        self._window_ms, self._linger_ms = window_ms, linger_ms
        self._quality = Quality()
        self._untold: set[QualityKey] = set()
        self._changed_at: dict[int, int] = {}
        self._settled_at: dict[int, int] = {}
        self.windows = Windows({})

    def restore(self, windows: bytes | None, sums: Iterable[tuple[str, bytes]], now: int) -> None:
        if windows is not None:
            self.windows = decode_windows(windows)
        for name, data in sums:
            key = key_named(name)
            self._quality.sums[key] = read_sums(data)
            self._changed_at[key.window] = now
            self._untold.add(key)

    def add(self, rows: pa.RecordBatch, now: int) -> Iterator[tuple[str, bytes]]:
        """The names and bytes of what has changed, for state."""
        changed = self._counter.count(self._quality, rows, self.windows.closed)
        self._untold |= changed
        for key in changed:
            self._changed_at[key.window] = now
            yield name_of(key), write_sums(self._quality.sums[key])

    def settled(self, groups: Iterable[int], to: int) -> None:
        """Predictions of these key groups are settled up to this time."""
        known = self.windows.settled
        known |= {group: max(to, known.get(group, 0)) for group in groups}

    def tell(self, now: int) -> list[QualityRecord]:
        """What has changed since it was told last."""
        told = [self._record(key, now) for key in sorted(self._untold)]
        self._untold.clear()
        return told

    def close(self, now: int, drop: Callable[[str], None], ended: bool = False) -> list[QualityRecord]:
        """The last words about windows that get nothing more; `drop` forgets a name in state. `ended`: the
        input has, so all are closed."""
        known = self.windows.settled.values()
        settled = END if ended else min(known) if len(known) == self._groups else 0
        # the clock may have been set back
        self._changed_at, self._settled_at = (
            {window: min(at, now) for window, at in of.items()} for of in (self._changed_at, self._settled_at)
        )
        over: set[int] = set()
        for window, changed in sorted(self._changed_at.items()):
            if window == ALL:
                continue
            if window + self._window_ms > settled:
                break
            # a source whose clock is wrong may change an old window for ever: that does not make it linger on
            since = min(changed, self._settled_at.setdefault(window, now))
            if not ended and now - since < self._linger_ms:
                break  # a later one that closed first would keep late rows out of this one
            over.add(window)
        told = []
        for key in sorted(key for key in self._quality.sums if key.window in over):
            told.append(self._record(key, now, closed=True))
            del self._quality.sums[key]
            self._untold.discard(key)
            drop(name_of(key))
        for window in over:
            del self._changed_at[window], self._settled_at[window]
            self.windows.closed = max(self.windows.closed, window + self._window_ms)
        return told

    def _record(self, key: QualityKey, now: int, closed: bool = False) -> QualityRecord:
        return quality_record(key, self._quality.sums[key], self._window_ms, now, closed)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_KEY_DECODER = msgspec.json.Decoder(QualityKey)
