"""Records that wait for their data type's first model, or behind a call: how many, and for how long."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from schemas.errors import StateError

_ACCOUNTS = {1: struct.Struct("<Bqqqq"), 2: struct.Struct("<Bqqqqq")}
_VERSION = 2


@dataclass(frozen=True, slots=True)
class BufferPolicy:
    """Bounds on what waits of a data type, for each instance: `records`, `bytes`, and `seconds` for the
    oldest that waits for a model. And on what waits of all data types of an instance together: `all_bytes`,
    `types`."""

    records: int = 100_000
    bytes: int = 256 << 20
    seconds: float = 60.0
    all_bytes: int = 512 << 20
    types: int = 1000

    def crowded(self, own: int, size: int, types: int, place: int) -> str:
        """Why the wait of a data type must end when of all together `size` bytes of `types` wait, or an empty
        string. `own`: its bytes, and only what is not below the mean makes way; `place`: how many wait for
        longer, and only those that came last make way."""
        if size > self.all_bytes and own * types >= self.all_bytes:
            return f"no model yet; more than {self.all_bytes} bytes of records waited, of all data types"
        if place >= self.types:
            return f"no model yet; records of more than {self.types} data types waited"
        return ""


@dataclass(slots=True)
class BufferAccount:
    """What waits: micro-batches, their records and bytes. `since`: when the oldest came or one before it was
    taken, in epoch milliseconds. `first`: the number of the oldest; those behind it follow."""

    batches: int = 0
    records: int = 0
    bytes: int = 0
    since: int = 0
    first: int = 0

    def exceeded(self, policy: BufferPolicy, now_ms: int) -> str:
        """Why the wait must end, or an empty string."""
        if self.records > policy.records:
            return f"no model yet; more than {policy.records} records waited"
        if self.bytes > policy.bytes:
            return f"no model yet; more than {policy.bytes} bytes of records waited"
        if self.records and now_ms - self.since > policy.seconds * 1000:
            return f"no model yet after {policy.seconds:g} s"
        return ""

    def full(self, policy: BufferPolicy) -> bool:
        """Whether no more may wait behind a call. The other half is for what comes while a model that was set
        aside is replaced: what exceeds the bounds then goes out unscored."""
        return 2 * self.records > policy.records or 2 * self.bytes > policy.bytes


def encode_account(account: BufferAccount) -> bytes:
    """Version 2: micro-batches, records, bytes, since, first."""
    return _ACCOUNTS[_VERSION].pack(
        _VERSION, account.batches, account.records, account.bytes, account.since, account.first
    )


def decode_account(packed: bytes) -> BufferAccount:
    """Also of version 1, which had no first: it was 0. Raises `StateError` for another version."""
    form = _ACCOUNTS.get(packed[0])
    if form is None:
        raise StateError(
            f"an account of waiting records has version {packed[0]}; this release reads 1 to {_VERSION}"
        )
    return BufferAccount(*form.unpack(packed)[1:])
