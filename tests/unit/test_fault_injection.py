"""Rehearsals: calls are held up as a file says, and a file that makes no sense holds nobody up."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from schemas.results.answers import AnswerOutcome
from tests.executor_fakes import Bench, Hands
from udfs.ensemble.execution.fault_injection import FaultInjection


class Rehearsal:
    def __init__(self, path: Path | None) -> None:
        self.hands = Hands()
        self.slept: list[float] = []
        self.faults = FaultInjection(str(path) if path else None, self.hands.clock(), self.slept.append)

    def held_up(self, name: str) -> list[float]:
        self.slept.clear()
        self.faults.hold_up(name)
        return list(self.slept)


def test_candidates_are_held_up_as_the_file_says(tmp_path: Path):
    path = tmp_path / "faults.json"
    path.write_text('{"slow": 80, "stuck": 5000.5, "well": 0}')
    rehearsal = Rehearsal(path)
    assert [rehearsal.held_up(name) for name in ("slow", "stuck", "well", "other")] == [
        [0.08],
        [5.0005],
        [],
        [],
    ]


def test_the_file_is_read_again_when_it_has_changed_a_second_later(tmp_path: Path):
    path = tmp_path / "faults.json"
    rehearsal = Rehearsal(path)
    assert rehearsal.held_up("a") == []
    path.write_text('{"a": 10}')
    assert rehearsal.held_up("a") == []
    rehearsal.hands.now += 1000
    assert rehearsal.held_up("a") == [0.01]
    path.write_text('{"a": 20}')
    os.utime(path, ns=(1, 1))
    rehearsal.hands.now += 999
    assert rehearsal.held_up("a") == [0.01]
    rehearsal.hands.now += 1
    assert rehearsal.held_up("a") == [0.02]
    path.unlink()
    rehearsal.hands.now += 1000
    assert rehearsal.held_up("a") == []


@pytest.mark.parametrize(
    "content", ["", "no json", "[1]", '{"a": "x"}', '{"a": -1}', '{"a": NaN}', '{"a": null}']
)
def test_a_file_that_makes_no_sense_holds_nobody_up_and_is_told_once(tmp_path: Path, caplog, content: str):
    path = tmp_path / "faults.json"
    path.write_text(content)
    rehearsal = Rehearsal(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert rehearsal.held_up("a") == []
            rehearsal.hands.now += 1000
    assert len([r for r in caplog.records if "fault injection" in r.message]) == 1


def test_without_a_path_nothing_is_looked_at():
    assert Rehearsal(None).held_up("a") == []


def test_only_the_candidate_named_is_held_up(tmp_path: Path):
    path = tmp_path / "faults.json"
    path.write_text('{"a": 80}')
    rehearsal = Rehearsal(path)
    bench = Bench(faults=rehearsal.faults)
    bench.serve("a", "b")
    bench.ask("a", "b")
    assert {a.outcome for a in bench.answers(2)} == {AnswerOutcome.SCORED}
    assert rehearsal.slept == [0.08]
    bench.close()


def test_who_comes_while_another_reads_the_file_is_held_up_too(tmp_path: Path):
    path = tmp_path / "faults.json"
    os.mkfifo(path)  # reading it lasts until somebody has written
    rehearsal = Rehearsal(path)
    first, second = (
        threading.Thread(target=rehearsal.faults.hold_up, args=(name,)) for name in ("other", "slow")
    )
    first.start()
    with path.open("w") as file:  # opens when the first one has
        second.start()
        second.join(0.2)
        file.write('{"slow": 80}')
    first.join()
    second.join()
    assert rehearsal.slept == [0.08]
