"""Keyed state for micro-batches that wait: for their data type's first model, or behind a call of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch, joined
from udfs.serving.buffering import BufferAccount, BufferPolicy, decode_account, encode_account

_JOINED_BYTES = 1 << 20
_IDLE_KNOWN = 10_000


class Buffer:
    """The micro-batches that wait under the current key, in order, with an account for each data type."""

    def __init__(self, context: RuntimeContext, policy: BufferPolicy) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._policy = policy
        self._batches = context.get_map_state(MapStateDescriptor("buffered", Types.STRING(), pickled))
        self._accounts = context.get_map_state(MapStateDescriptor("buffer-accounts", Types.STRING(), pickled))
        # Reading state costs a call into the JVM for each micro-batch; what is once known stays known. By key
        # and data type: what waits, with its bytes together, and the last of those of which nothing does.
        self._waiting: dict[tuple[str, str], BufferAccount] = {}
        self._bytes = 0
        self._idle: dict[tuple[str, str], None] = {}

    def add(self, key: str, batch: MicroBatch) -> None:
        """Behind all that waits of its data type."""
        account = self._account(key, batch.data_type) or BufferAccount(since=_now())
        self._put(key, batch, account, account.first + account.batches)

    def put_back(self, key: str, batch: MicroBatch) -> None:
        """Before all that waits of its data type."""
        account = self._account(key, batch.data_type) or BufferAccount(since=_now())
        account.first -= 1 if account.batches else 0
        self._put(key, batch, account, account.first)

    def any(self, key: str, data_type: str) -> bool:
        return self._account(key, data_type) is not None

    def data_types(self) -> list[str]:
        """Of what waits under the current key."""
        return list(self._accounts.keys())

    def overdue(self, key: str, data_type: str) -> str:
        """Why the wait for a model must end, or an empty string."""
        account = self._account(key, data_type)
        if account is None:
            return ""
        return account.exceeded(self._policy, _now()) or self._crowded(key, data_type, account)

    def full(self, key: str, data_type: str) -> bool:
        """Whether no more may wait behind a call."""
        account = self._account(key, data_type)
        return account is not None and account.full(self._policy)

    def _crowded(self, key: str, data_type: str, account: BufferAccount) -> str:
        types, place = len(self._waiting), 0
        if types > self._policy.types:
            place = next(n for n, one in enumerate(self._waiting) if one == (key, data_type))
        return self._policy.crowded(account.bytes, self._bytes, types, place)

    def first(self, key: str, data_type: str, records: int = 0) -> MicroBatch | None:
        """Take the micro-batch that has waited longest, with those behind it while all have one source, at
        most so many records, and not too many bytes; None where nothing waits."""
        account = self._account(key, data_type)
        if account is None:
            return None
        taken: list[MicroBatch] = []
        size = 0
        while account.batches:
            encoded = bytes(self._batches.get(f"{data_type}/{account.first}"))
            batch = decode_micro_batch(encoded)
            if taken:
                count = sum(map(len, taken)) + len(batch)
                too_large = count > records or size + len(encoded) > _JOINED_BYTES
                if too_large or batch.source != taken[0].source:
                    break
            self._batches.remove(f"{data_type}/{account.first}")
            taken.append(batch)
            size += len(encoded)
            account.first += 1
            account.batches -= 1
            account.records -= len(batch)
            account.bytes -= len(encoded)
            self._bytes -= len(encoded)
            if not records:
                break
        account.since = _now()
        self._keep(key, data_type, account)
        return joined(taken) if len(taken) > 1 else taken[0]

    def take(self, key: str, data_type: str) -> Iterator[MicroBatch]:
        """Take all that waits, one micro-batch after the other."""
        while (batch := self.first(key, data_type)) is not None:
            yield batch

    def _put(self, key: str, batch: MicroBatch, account: BufferAccount, number: int) -> None:
        encoded = encode_micro_batch(batch)
        self._batches.put(f"{batch.data_type}/{number}", encoded)
        account.batches += 1
        account.records += len(batch)
        account.bytes += len(encoded)
        self._bytes += len(encoded)
        self._keep(key, batch.data_type, account)

    def _keep(self, key: str, data_type: str, account: BufferAccount) -> None:
        if account.batches:
            self._idle.pop((key, data_type), None)
            self._waiting[key, data_type] = account
            self._accounts.put(data_type, encode_account(account))
        else:
            self._waiting.pop((key, data_type), None)
            self._is_idle(key, data_type)
            self._accounts.remove(data_type)

    def _account(self, key: str, data_type: str) -> BufferAccount | None:
        known = self._waiting.get((key, data_type))
        if known is None and (key, data_type) not in self._idle:
            packed = self._accounts.get(data_type)
            if packed is None:
                self._is_idle(key, data_type)
            else:
                known = self._waiting[key, data_type] = decode_account(bytes(packed))
                self._bytes += known.bytes
        return known

    def _is_idle(self, key: str, data_type: str) -> None:
        self._idle[key, data_type] = None
        if len(self._idle) > _IDLE_KNOWN:  # names that records invent come and go
            del self._idle[next(iter(self._idle))]


def _now() -> int:
    return time.time_ns() // 1_000_000
