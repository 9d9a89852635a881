"""Timers of keyed operators, when the clock is not what it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from operators.timers import END_OF_INPUT, KeyTimers


class Service:
    def __init__(self) -> None:
        self.now, self.set = 5500, list[int]()

    def timers(self) -> Any:
        return SimpleNamespace(
            current_processing_time=lambda: self.now,
            register_processing_time_timer=self.set.append,
            register_event_time_timer=lambda at: None,
        )


def test_the_next_timer_is_later_than_the_one_that_fired() -> None:
    """Flink fires what is set for no later time at once, and would not come back."""
    service, timers = Service(), KeyTimers(1000)
    timers.start("a", service.timers())
    assert service.set == [6000] and timers.due("a", 6000)
    service.now = 2500
    timers.again("a", service.timers(), 6000)
    assert service.set[1:] == [7000] and not timers.due("a", 6000)


def test_a_late_timer_is_followed_by_the_next_of_now() -> None:
    service, timers = Service(), KeyTimers(1000)
    timers.start("a", service.timers())
    service.now = 9100
    timers.again("a", service.timers(), 6000)
    assert service.set == [6000, 10_000]


def test_the_end_of_the_input_is_no_time_to_count_from() -> None:
    service, timers = Service(), KeyTimers(1000)
    timers.start("a", service.timers())
    timers.again("a", service.timers(), END_OF_INPUT)
    assert service.set == [6000, 6000]


def test_a_timer_for_what_may_end_soon_is_later_than_the_one_that_fired_too() -> None:
    service, timers = Service(), KeyTimers(1000)
    timers.soon(service.timers())
    service.now = 2500
    timers.soon(service.timers(), 5510)
    assert service.set == [5510, 5520]
