"""When records stop waiting for a model."""

from __future__ import annotations

import pytest

from udfs.serving.buffering import Held, HoldPolicy

POLICY = HoldPolicy(records=100, seconds=2.5)


@pytest.mark.parametrize(
    ("records", "waited_ms", "reason"),
    [
        (0, 10_000, ""),
        (1, 2500, ""),
        (1, 2501, "no model yet after 2.5 s"),
        (100, 0, ""),
        (101, 0, "no model yet; more than 100 records waited"),
        (101, 9000, "no model yet; more than 100 records waited"),
    ],
)
def test_a_hold_ends_beyond_its_bounds(records: int, waited_ms: int, reason: str):
    assert Held(records, since=1000).exceeded(POLICY, 1000 + waited_ms) == reason
