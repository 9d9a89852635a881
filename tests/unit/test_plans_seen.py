"""Which plans are in force by what the model stream has said: as jobs count, and the same after a restart."""

from __future__ import annotations

import pytest

from tests.experiment_evidence import published_plan
from udfs.lifecycle.experiments.plans_seen import PlansSeen


class Seen:
    """Plans for wine; with `restart` each question is put to what was restored from the changes."""

    def __init__(self, restart: bool) -> None:
        self.plans, self._restart, self.kept = PlansSeen(), restart, {}

    def take(self, name: str, version: int, text: bytes = b"{}") -> int | None:
        return self._after(self.plans.take(published_plan(name, version, text)))

    def withdraw(self, name: str) -> None:
        self._after(self.plans.withdraw("wine", name))

    def newest(self, name: str) -> int:
        return self.plans.newest("wine", name)

    def _after(self, found):
        self.kept |= {data_type: self.plans.log(data_type) for data_type in self.plans.changed()}
        if self._restart:
            self.plans = PlansSeen()
            for data_type, log in self.kept.items():
                self.plans.restore(data_type, log)
        return found


@pytest.fixture(params=[False, True])
def seen(request: pytest.FixtureRequest) -> Seen:
    return Seen(request.param)


def test_a_plan_that_is_older_or_there_already_is_not_taken(seen: Seen):
    assert seen.take("vote", 9) == 9 and seen.newest("vote") == 9
    assert seen.take("vote", 9) is seen.take("vote", 0) is seen.take("vote", 8, b'{"deadline_ms":7}') is None
    assert seen.take("vote", 0, b'{"deadline_ms":7}') == 10
    assert (seen.newest("vote"), seen.newest("plan"), PlansSeen().newest("wine", "vote")) == (10, 0, 0)
    assert seen.take("vote", 2**63) is None
    assert seen.kept.keys() == {"wine"}


def test_a_withdrawal_is_of_the_plan_in_force(seen: Seen):
    seen.withdraw("vote")
    assert not seen.kept
    seen.take("vote", 9)
    seen.withdraw("")  # of models
    assert seen.take("vote", 9) is None
    seen.withdraw("vote")
    assert seen.newest("vote") == 8 and seen.take("vote", 9) == 9
    seen.take("plan", 1)
    seen.withdraw("vote")  # the other one is in force
    assert seen.take("vote", 9) is None


def test_changes_are_told_once(seen: Seen):
    seen.take("vote", 9)
    assert seen.plans.changed() == []
