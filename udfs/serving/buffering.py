"""Records that came before their data type had a model: how many are held back, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HoldPolicy:
    """Bounds on what one key may hold back: `records`, and `seconds` for the oldest."""

    records: int = 100_000
    seconds: float = 60.0


@dataclass(slots=True)
class Held:
    """The account of one key's held blocks, which lie in keyed state. `since` is in epoch ms."""

    records: int = 0
    since: int = 0

    def exceeded(self, policy: HoldPolicy, now_ms: int) -> str:
        """Why the hold must end, or an empty string."""
        if self.records > policy.records:
            return f"no model yet; more than {policy.records} records waited"
        if self.records and now_ms - self.since > policy.seconds * 1000:
            return f"no model yet after {policy.seconds:g} s"
        return ""
