"""Plans of an ensemble: which candidates are asked about a record, until when, and which policy decides.

A plan is built here or read from JSON, and published with `millrace plan`. Policies follow each other by
`otherwise`: the next is asked about the records that the one before could not decide.
"""

from __future__ import annotations

from schemas.plans.plan import (
    Agreement,
    All,
    BestConfidence,
    BestQuality,
    ByHash,
    ByRule,
    Fallback,
    First,
    Majority,
    MeanAnswer,
    MedianAnswer,
    Only,
    Plan,
    PlanArm,
    Policy,
    Prefer,
    Route,
    Rule,
    Split,
    read_plan,
    write_plan,
)

__all__ = [
    "Agreement",
    "All",
    "BestConfidence",
    "BestQuality",
    "ByHash",
    "ByRule",
    "Fallback",
    "First",
    "Majority",
    "MeanAnswer",
    "MedianAnswer",
    "Only",
    "Plan",
    "PlanArm",
    "Policy",
    "Prefer",
    "Route",
    "Rule",
    "Split",
    "read_plan",
    "write_plan",
]
