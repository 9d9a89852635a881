"""Records that wait for their data type's first model, or behind a call: how many, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BufferPolicy:
    """Bounds on what waits of a data type, for each instance: `records`, `bytes`, and `seconds` for the
    oldest that waits for a model."""

    records: int = 100_000
    bytes: int = 256 << 20
    seconds: float = 60.0


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
