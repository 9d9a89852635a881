"""Keyed state for micro-batches that wait for their data type's first model."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from schemas.errors import StateError
from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch
from udfs.serving.buffering import BufferAccount, BufferPolicy

_ACCOUNT = struct.Struct("<Bqqqq")
_VERSION = 1


class Buffer:
    """The micro-batches that wait under the current key, in order, with an account for each data type."""

    def __init__(self, context: RuntimeContext, policy: BufferPolicy) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._policy = policy
        self._batches = context.get_map_state(MapStateDescriptor("buffered", Types.STRING(), pickled))
        self._accounts = context.get_map_state(MapStateDescriptor("buffer-accounts", Types.STRING(), pickled))
        # Reading state costs a call into the JVM for each micro-batch; what is once known to be empty stays
        # known.
        self._empty: set[tuple[str, str]] = set()

    def add(self, key: str, batch: MicroBatch) -> None:
        account = self._account(batch.data_type) or BufferAccount(since=_now())
        encoded = encode_micro_batch(batch)
        self._batches.put(f"{batch.data_type}/{account.batches}", encoded)
        account.batches += 1
        account.records += len(batch)
        account.bytes += len(encoded)
        self._accounts.put(batch.data_type, encode_account(account))
        self._empty.discard((key, batch.data_type))

    def any(self, key: str, data_type: str) -> bool:
        if (key, data_type) in self._empty:
            return False
        if self._account(data_type) is None:
            self._empty.add((key, data_type))
            return False
        return True

    def data_types(self) -> list[str]:
        """Of what waits under the current key."""
        return list(self._accounts.keys())

    def overdue(self, data_type: str) -> str:
        """Why the wait must end, or an empty string."""
        account = self._account(data_type)
        return account.exceeded(self._policy, _now()) if account is not None else ""

    def take(self, key: str, data_type: str) -> Iterator[MicroBatch]:
        """All that waits for a model of the data type. Nothing does afterwards but what is added meanwhile,
        under names of what was taken before."""
        account = self._account(data_type)
        self._empty.add((key, data_type))
        if account is None:
            return
        self._accounts.remove(data_type)
        for number in range(account.batches):
            name = f"{data_type}/{number}"
            encoded = bytes(self._batches.get(name))
            self._batches.remove(name)
            yield decode_micro_batch(encoded)

    def _account(self, data_type: str) -> BufferAccount | None:
        packed = self._accounts.get(data_type)
        return None if packed is None else decode_account(bytes(packed))


def encode_account(account: BufferAccount) -> bytes:
    """Version 1: micro-batches, records, bytes, since."""
    return _ACCOUNT.pack(_VERSION, account.batches, account.records, account.bytes, account.since)


def decode_account(packed: bytes) -> BufferAccount:
    """Raises `StateError` for another version."""
    if packed[0] != _VERSION:
        raise StateError(
            f"an account of waiting records has version {packed[0]}; this release reads {_VERSION}"
        )
    return BufferAccount(*_ACCOUNT.unpack(packed)[1:])


def _now() -> int:
    return time.time_ns() // 1_000_000
