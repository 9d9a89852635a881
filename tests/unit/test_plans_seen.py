"""Which plans are in force by what the model stream has said: as jobs count, and the same after a restart."""

from __future__ import annotations

import msgspec
import pytest

from schemas.errors import StateError
from tests.experiment_evidence import published_plan
from udfs.lifecycle.experiments.plans_seen import InForce, PlanLog, PlansSeen
from udfs.models.model_log import ModelLog

OTHER = b'{"deadline_ms":7}'


class Seen:
    """Plans for wine; with `restart` each question is put to what was restored from the changes."""

    def __init__(self, restart: bool) -> None:
        self.plans, self._restart, self.kept = PlansSeen(), restart, {}

    def take(self, name: str, version: int, text: bytes = b"{}") -> bool:
        return self._after(self.plans.take(published_plan(name, version, text)))

    def withdraw(self, name: str) -> bool:
        return self._after(self.plans.withdraw("wine", name))

    def write(self, name: str, version: int, text: bytes = b"{}") -> None:
        self._after(self.plans.write("wine", name, version, text))

    def next(self, name: str) -> int:
        return self.plans.next_version("wine", name, 1)

    @property
    def in_force(self) -> InForce | None:
        return self.plans.in_force("wine")

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


def test_a_plan_that_is_older_or_there_already_changes_nothing(seen: Seen):
    assert seen.in_force is None and not seen.take("vote", 2**63) and not seen.kept
    assert seen.take("vote", 9) and seen.next("vote") == 10
    kept = dict(seen.kept)
    assert seen.take("vote", 9) is seen.take("vote", 0) is seen.take("vote", 8, OTHER) is False
    assert seen.kept == kept and kept.keys() == {"wine"}
    assert seen.take("vote", 0, OTHER) and seen.in_force == InForce("vote", 10, OTHER.decode())
    assert (seen.next("vote"), seen.next("plan"), PlansSeen().next_version("wine", "vote", 7)) == (11, 1, 7)


def test_a_withdrawal_is_of_the_plan_in_force(seen: Seen):
    assert not seen.withdraw("vote") and not seen.kept
    seen.take("vote", 9)
    assert not seen.withdraw("") and not seen.take("vote", 9)  # of models
    assert seen.withdraw("vote") and seen.in_force is None
    assert seen.next("vote") == 9 and seen.take("vote", 9)
    seen.take("plan", 1)
    assert not seen.withdraw("vote") and not seen.take("vote", 9)  # the other one is in force
    assert seen.in_force == InForce("plan", 1, "{}")


def test_what_comes_before_a_plan_that_was_written_is_looked_at_when_that_has_come(seen: Seen):
    seen.write("own", 5, OTHER)
    assert seen.next("own") == 6
    assert not seen.take("vote", 1) and not seen.withdraw("vote")
    assert not seen.take("own", 5)  # of that version, and not that plan
    assert seen.take("own", 5, OTHER) and seen.in_force == InForce("own", 5, "{}")
    seen.write("own", 6)
    assert not seen.take("own", 6) and seen.in_force == InForce("own", 6, "{}")
    assert seen.take("vote", 1, OTHER)


def test_a_plan_that_is_lost_is_not_waited_for_once_a_later_one_has_come(seen: Seen):
    seen.write("lost", 4)
    seen.write("own", 5)
    assert not seen.take("vote", 1)
    seen.take("own", 5)
    assert seen.take("vote", 2)


def test_of_a_name_the_last_that_was_written_is_kept(seen: Seen):
    """Where its plans never come back, state would grow with each."""
    for version in (5, 6):
        seen.write("own", version)
    log = msgspec.msgpack.decode(seen.plans.log("wine"), type=PlanLog)
    assert [one.version for one in log.written] == [6]


def test_changes_are_told_once(seen: Seen):
    seen.take("vote", 9)
    assert seen.plans.changed() == []


def test_state_from_before_plans_were_awaited_is_read():
    log = ModelLog()
    log.loaded(log.accept(published_plan("vote", 9, b"{}"), b""))
    for stored, version in ((log.encoded(), 10), (b"", 1)):
        plans = PlansSeen()
        plans.restore("wine", stored)
        assert plans.next_version("wine", "vote", 1) == version


def test_state_that_cannot_be_read_is_told():
    newer = msgspec.msgpack.encode(PlanLog(version=2))
    with pytest.raises(StateError, match=r"plans of a controller of version 2: .* update"):
        PlansSeen().restore("wine", newer)
    with pytest.raises(StateError, match="no plans of a controller"):
        PlansSeen().restore("wine", newer[:-3])
