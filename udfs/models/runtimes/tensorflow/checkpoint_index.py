"""What the index of a checkpoint says, held against the files beside it before TensorFlow reads either.

TensorFlow takes the memory that an index speaks of before it looks at the file, and ends the process for
blocks that it cannot hold. The format is LevelDB's table of sorted keys: a footer names a block of blocks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import LoadError
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

MAX_INDEX_BYTES = 256 << 20
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5  # bytes behind a block: how it is packed, and a checksum
_MOST_KEY = 4096
_WIDEST = 1 << 62
_TEXT = 7  # DT_STRING: how long each text is, a checksum, the texts
_NO_VARIABLES = frozenset({20, 21})  # DT_RESOURCE, DT_VARIANT
_REFERENCES = 100  # DataTypes beyond are references
_CHECKSUM = 4


def check_index(prefix: Path) -> None:
    """Raise `LoadError` unless all that the index of the checkpoint at `prefix` names is there, once, and as
    large as its type and shape say."""
    path = prefix.with_name(f"{prefix.name}.index")
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise LoadError(_said(f"its index has more than {MAX_INDEX_BYTES:,} bytes"))
        entries = _entries(path.read_bytes())
        _check(entries, prefix)
    except OSError as e:
        raise LoadError(f"the SavedModel's variables cannot be read: {e.strerror or e}") from e
    except (IndexError, struct.error, ValueError):
        raise LoadError(_said("its index cannot be read")) from None


def _said(what: str) -> str:
    return f"the SavedModel's variables are damaged: {what}"


def _check(entries: Iterator[tuple[bytes, bytes]], prefix: Path) -> None:
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto  # noqa: PLC0415

    try:
        key, value = next(entries)
        if key:
            raise LoadError(_said("its index has no header"))
        files = _Files(prefix, BundleHeaderProto.FromString(value).num_shards)
        sliced = total = 0
        for key, value in entries:
            entry = BundleEntryProto.FromString(value)
            least = _least_bytes(entry, key)
            if entry.slices:
                sliced, total = sliced + len(entry.slices), max(total, least)
            else:
                files.take(entry, least, key)
    except (StopIteration, DecodeError):
        raise LoadError(_said("its index cannot be read")) from None
    files.check(sliced, total)


def _least_bytes(entry: Any, key: bytes) -> int:
    """What the entry's type and shape take in a file; of texts it is the least, a byte for each."""
    dims = [d.size for d in entry.shape.dim]
    try:
        if entry.dtype in _NO_VARIABLES or entry.dtype > _REFERENCES:
            raise TypeError
        dtype = configured_tensorflow().dtypes.as_dtype(entry.dtype)
    except TypeError:
        raise LoadError(_said(f"{_name(key)} is of the type {entry.dtype}, which no variable has")) from None
    if entry.shape.unknown_rank or min(dims, default=0) < 0 or math.prod(dims) > _WIDEST:
        raise LoadError(_said(f"{_name(key)} has no possible shape"))
    return math.prod(dims) + _CHECKSUM if entry.dtype == _TEXT else math.prod(dims) * dtype.size


def _name(key: bytes) -> str:
    return repr(key.removesuffix(b"/.ATTRIBUTES/VARIABLE_VALUE").decode(errors="replace")[:100])


class _Files:
    """The files of a checkpoint, and which of their bytes are spoken for."""

    def __init__(self, prefix: Path, count: int) -> None:
        self._prefix, self._count = prefix, count
        self._sizes: dict[int, int] = {}
        self._taken: list[tuple[int, int, int, bytes]] = []

    def take(self, entry: Any, least: int, key: bytes) -> None:
        if not 0 <= entry.shard_id < self._count:
            raise LoadError(_said(f"{_name(key)} is in file {entry.shard_id} of {self._count:,}"))
        where = f"{_name(key)} has {entry.size:,} bytes at {entry.offset:,} of file {entry.shard_id}"
        size = self._size(entry.shard_id)
        if entry.size < 0 or entry.offset < 0 or entry.offset + entry.size > size:
            raise LoadError(_said(f"{where}, which has {size:,}"))
        if entry.size < least or (entry.size > least and entry.dtype != _TEXT):
            raise LoadError(_said(f"{where}, and its type and shape need {least:,}"))
        if entry.dtype == _TEXT and not self._texts_fit(entry, least - _CHECKSUM):
            raise LoadError(_said(f"{where}, which its texts do not fill"))
        if entry.size:
            self._taken.append((entry.shard_id, entry.offset, entry.offset + entry.size, key))

    def check(self, sliced: int, total: int) -> None:
        """`sliced`: how many parts variables are put together of; `total`: bytes of the largest of these."""
        self._taken.sort()
        for (shard, _, end, key), (other, start, _, next_key) in zip(
            self._taken, self._taken[1:], strict=False
        ):
            if shard == other and start < end:
                raise LoadError(_said(f"{_name(key)} and {_name(next_key)} share bytes of file {shard}"))
        if sliced > len(self._taken) or total > sum(self._sizes.values()):
            raise LoadError(_said("variables are put together of more parts than there are"))

    def _texts_fit(self, entry: Any, count: int) -> bool:
        with self._path(entry.shard_id).open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        at = total = 0
        for _ in range(count):
            length, at = _number(data, at)
            total += length
        return at + _CHECKSUM + total == len(data)

    def _path(self, shard: int) -> Path:
        return self._prefix.with_name(f"{self._prefix.name}.data-{shard:05d}-of-{self._count:05d}")

    def _size(self, shard: int) -> int:
        if shard not in self._sizes:
            path = self._path(shard)
            if not path.is_file():
                raise LoadError(_said(f"the file {path.name} is not there: publish the whole folder"))
            self._sizes[shard] = path.stat().st_size
        return self._sizes[shard]


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in their order. Raises IndexError, struct.error or ValueError where it is damaged."""
    footer = data[-_FOOTER:]
    if len(data) < _FOOTER or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("no table")
    at = 0
    _, at = _number(footer, at)
    _, at = _number(footer, at)
    done, last = 0, None
    for _, handle in _block(data, *_handle(footer, at)):
        start, size = _handle(handle, 0)
        if start < done:  # a block that stands twice is read twice
            raise ValueError("blocks overlap")
        done = start + size
        for key, value in _block(data, start, size):
            if last is not None and key <= last:
                raise ValueError("keys are not in order")
            yield key, value
            last = key


def _handle(data: bytes, at: int) -> tuple[int, int]:
    start, at = _number(data, at)
    size, at = _number(data, at)
    return start, size


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block. TensorFlow looks for some from the places at its end: these must be entries."""
    end = start + size
    if size < 4 or end + _TRAILER > len(data) or data[end]:  # TensorFlow writes no packed ones
        raise ValueError("a block that is not in the file, or packed")
    (count,) = struct.unpack_from("<I", data, end - 4)
    places = end - 4 - 4 * count
    if places < start:
        raise ValueError("a block without an end")
    restarts = set(struct.unpack_from(f"<{count}I", data, places))
    at, key, whole = start, b"", set()
    while at < places:
        began = at - start
        shared, at = _number(data, at)
        length, at = _number(data, at)
        value, at = _number(data, at)
        if shared > len(key) or shared + length > _MOST_KEY or at + length + value > places:
            raise ValueError("an entry beyond its block")
        if not shared:
            whole.add(began)
        key = key[:shared] + data[at : at + length]
        at += length + value
        yield key, data[at - value : at]
    if restarts - whole - {0}:
        raise ValueError("a place that is no entry")


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
