"""What a judge finds, whatever it judges: counts of what must not be, and examples of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LOST, DOUBLED = "lost", "doubled"
MIS_STAMPED = "stamped with a version that did not score them"
_EXAMPLES = 5
"""Of each fault."""


@dataclass(slots=True)
class Verdict:
    """`faults`: what must not be -> how often it was; `missing`: what has not gone by the plan.

    `unscored`: results marked as not scored, with a reason. `told_apart`: scored records for which no other
    version of their type gives the same scores, so that a wrong stamp could not have gone unseen.
    """

    faults: dict[str, int]
    records: int = 0
    scored: int = 0
    unscored: int = 0
    told_apart: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    """What else was computed, by name."""
    examples: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *faults: str) -> Verdict:
        """Nothing is found yet, of these."""
        return cls(dict.fromkeys(faults, 0))

    @property
    def good(self) -> bool:
        return not any(self.faults.values()) and not self.missing

    def count(self, fault: str, found: Sequence[str] | int) -> None:
        """`found`: how many more there are, or a line for each."""
        before = self.faults.get(fault, 0)
        self.faults[fault] = before + (found if isinstance(found, int) else len(found))
        if not isinstance(found, int):
            self.examples += found[: max(0, _EXAMPLES - before)]
