"""How many different values there are, by HLL, and quantiles, by KLL.

Both must give the same value whenever the same events are combined in the same order. HLL does. KLL tosses a
coin when it halves a level, and datasketches seeds it from the clock: here the coin is a hash of what is
halved, and so always falls the same way. The bytes are datasketches' own, whose `kll_doubles_sketch` reads
them.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_VERSION = 1
_LEAST = 8  # items that any level of KLL may hold
_HEAD = struct.Struct("<BBBBHBBQHBB")
_FULL, _SERIAL, _FAMILY = 5, 1, 15


class DistinctSketch:
    """Partial: an HLL sketch with `2 ** lg_k` registers of 4 bits (fewer while values are few)."""

    def __init__(self, lg_k: int) -> None:
        import datasketches  # noqa: PLC0415 - heavy, and only here

        self._sketches, self._lg_k = datasketches, lg_k

    def lift(self, columns: Sequence[pa.Array]) -> list[Any]:
        return [self._single(value) for value in columns[0].to_pylist()]

    def combine(self, earlier: Any, later: Any) -> Any:
        union = self._sketches.hll_union(self._lg_k)
        union.update(earlier)
        union.update(later)
        return union.get_result()

    def result(self, partial: Any | None) -> int:
        return 0 if partial is None else round(partial.get_estimate())

    def pack(self, partial: Any) -> bytes:
        return bytes([_VERSION]) + bytes(partial.serialize_compact())

    def unpack(self, data: bytes) -> Any:
        return self._sketches.hll_sketch.deserialize(data[1:])

    def _single(self, value: Any) -> Any:
        sketch = self._sketches.hll_sketch(self._lg_k)
        sketch.update(value)
        return sketch


@dataclass(frozen=True, slots=True)
class Kll:
    """`levels[h]`: values that stand for `2 ** h` each; sorted from level 1 on. `n`: how many there were."""

    n: int
    least: float
    most: float
    levels: tuple[NDArray[np.float64], ...]


class QuantileSketch:
    """The least value of which at least a share `q` of all is not greater (Karnin, Lang, Liberty 2016)."""

    def __init__(self, q: float, k: int) -> None:
        self._q, self._k = q, k

    def lift(self, columns: Sequence[pa.Array]) -> list[Kll | None]:
        numbers = columns[0].to_numpy(zero_copy_only=False).astype(np.float64)
        # NaN has no rank.
        return [None if math.isnan(v) else Kll(1, v, v, (np.array([v]),)) for v in numbers.tolist()]

    def combine(self, earlier: Kll, later: Kll) -> Kll:
        levels = [
            np.concatenate([
                earlier.levels[h] if h < len(earlier.levels) else _NO_VALUES,
                later.levels[h] if h < len(later.levels) else _NO_VALUES,
            ])
            for h in range(max(len(earlier.levels), len(later.levels)))
        ]  # fmt: skip
        self._compact(levels)
        levels[1:] = [np.sort(level) for level in levels[1:]]
        least, most = min(earlier.least, later.least), max(earlier.most, later.most)
        return Kll(earlier.n + later.n, least, most, tuple(levels))

    def result(self, partial: Kll | None) -> float | None:
        if partial is None:
            return None
        items = np.concatenate(partial.levels)
        weights = np.repeat([1 << h for h in range(len(partial.levels))], [len(v) for v in partial.levels])
        order = np.argsort(items, kind="stable")
        rank = np.cumsum(weights[order])
        at = np.searchsorted(rank, max(1, math.ceil(self._q * partial.n)))
        return float(items[order][at])

    def pack(self, partial: Kll) -> bytes:
        lengths = [len(level) for level in partial.levels]
        used = sum(lengths)
        capacity = sum(self._capacity(h, len(lengths)) for h in range(len(lengths)))
        begins = np.cumsum([max(0, capacity - used), *lengths[:-1]]).astype("<u4")
        head = _HEAD.pack(_FULL, _SERIAL, _FAMILY, 0, self._k, _LEAST, 0, partial.n, self._k, len(lengths), 0)
        ends = struct.pack("<dd", partial.least, partial.most)
        items = np.concatenate(partial.levels).astype("<f8").tobytes()
        return bytes([_VERSION]) + head + begins.tobytes() + ends + items

    def unpack(self, data: bytes) -> Kll:
        *_, n, _, levels, _ = _HEAD.unpack_from(data, 1)
        at = 1 + _HEAD.size
        begins = np.frombuffer(data, "<u4", levels, at).astype(np.int64)
        least, most = struct.unpack_from("<dd", data, at + 4 * levels)
        items = np.frombuffer(data, "<f8", -1, at + 4 * levels + 16)
        return Kll(n, least, most, tuple(np.split(items, (begins - begins[0])[1:])))

    def _capacity(self, level: int, levels: int) -> int:
        """Two thirds of the next higher level's; as datasketches counts it, since the bytes rest on it."""
        depth = levels - 1 - level
        return max(_LEAST, ((self._k << depth + 1) // 3**depth + 1) >> 1)

    def _compact(self, levels: list[NDArray[np.float64]]) -> None:
        """Halves levels that are too full, from the lowest on, until the sketch is within its size."""
        while sum(map(len, levels)) > sum(self._capacity(h, len(levels)) for h in range(len(levels))):
            h = next(h for h, v in enumerate(levels) if len(v) >= self._capacity(h, len(levels)))
            if h + 1 == len(levels):
                levels.append(_NO_VALUES)
            ordered = np.sort(levels[h])
            odd = len(ordered) % 2
            coin = zlib.crc32(ordered.tobytes()) & 1
            levels[h], half = ordered[:odd], ordered[odd + coin :: 2]
            levels[h + 1] = np.concatenate([levels[h + 1], half])


_NO_VALUES = np.zeros(0)
