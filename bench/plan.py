"""How much is measured, and what ends a run that does not end by itself."""

from __future__ import annotations

from dataclasses import dataclass


class BenchError(Exception):
    """A run failed, hung or gave the wrong results; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`records` a run, `rounds` of runs; latency phases of `warm_s` and then `phase_s` seconds.

    `keys`: records have one of 1000 keys instead of none.
    """

    records: int = 3_000_000
    rounds: int = 3
    warm_s: float = 10
    phase_s: float = 20
    keys: bool = False
    partitions: int = 4

    @property
    def warm_records(self) -> int:
        """Results before the clock starts: a third, at least 300,000 where there are that many twice.

        Java compiles for about a million records; what runs for weeks is measured after that.
        """
        return min(max(300_000, self.records // 3), self.records // 2)

    @property
    def limit_s(self) -> float:
        """The longest that one run may take from its first record to its last."""
        return 90 + self.records / 4000
