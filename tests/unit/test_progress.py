"""How far a source has been read: several partitions, idle ones, returning ones."""

from __future__ import annotations

from schemas.features.declarations import Column, FeatureType, Source
from udfs.features.events.progress import Progress

SOURCE = Source(
    name="s",
    columns=(Column(name="at", type=FeatureType.TIMESTAMP),),
    event_time="at",
    out_of_orderness="1 s",
    idle="10 s",
)


def test_the_slowest_partition_counts() -> None:
    progress = Progress(SOURCE, 2)
    progress.heard(0, 90_000)
    assert progress.watermark() is None, "the second has not been heard of"
    progress.heard(1, 50_000)
    assert progress.watermark() == 48_999
    progress.heard(1, 40_000)
    assert progress.watermark() == 48_999, "older events do not turn it back"
    progress.heard(1, 80_000)
    assert progress.watermark() == 78_999


def test_a_silent_partition_holds_nobody_back() -> None:
    progress = Progress(SOURCE, 2)
    progress.heard(0, 50_000)
    progress.heard(1, 20_000)
    progress.passed(9_999)
    progress.heard(0, 90_000)
    assert progress.watermark() == 18_999
    progress.passed(1)
    assert progress.watermark() == 88_999
    progress.heard(1, 30_000)
    assert progress.watermark() == 88_999, "what it brings when it returns is late"
    progress.heard(0, 99_000)
    progress.heard(1, 95_000)
    assert progress.watermark() == 93_999


def test_one_that_was_never_heard_of_is_waited_for_once() -> None:
    progress = Progress(SOURCE, 3)
    progress.passed(30_000)
    assert progress.watermark() is None, "a source that starts late is not idle"
    progress.heard(0, 50_000)
    progress.passed(9_999)
    assert progress.watermark() is None
    progress.heard(0, 60_000)
    progress.passed(1)
    assert progress.watermark() == 58_999


def test_without_a_number_of_partitions_it_is_time_that_counts() -> None:
    progress = Progress(SOURCE, None)
    progress.heard(0, 50_000)
    progress.passed(9_999)
    progress.heard(0, 60_000)
    assert progress.watermark() is None
    progress.passed(1)
    assert progress.watermark() == 58_999


def test_a_burst_before_silence_has_its_watermark() -> None:
    progress = Progress(SOURCE, None)
    progress.heard(0, 50_000)
    progress.heard(1, 60_000)
    progress.passed(9_999)
    assert progress.watermark() is None
    progress.passed(1)
    assert progress.watermark() == 48_999, "the slowest of all, where none is active"


def test_who_was_held_up_has_not_heard_silence() -> None:
    progress = Progress(SOURCE, 2)
    progress.heard(0, 90_000)
    progress.heard(1, 50_000)
    progress.heard(0, 95_000)  # however late: no time has passed where records are read
    assert progress.watermark() == 48_999
    for _ in range(10):
        progress.passed(1000)
        progress.heard(0, 95_000)
    assert progress.watermark() == 93_999


def test_a_partition_of_bad_records_only_holds_nobody_back() -> None:
    progress = Progress(SOURCE, 2)
    progress.heard(0, None)
    progress.heard(1, 50_000)
    assert progress.watermark() == 48_999


def test_all_silent_it_stays_where_it_is() -> None:
    progress = Progress(SOURCE, 1)
    progress.heard(0, 50_000)
    assert progress.watermark() == 48_999
    progress.passed(10**9)
    assert progress.watermark() == 48_999


def test_a_burst_that_is_over_when_others_have_been_waited_for_counts() -> None:
    progress = Progress(SOURCE, None)
    progress.heard(0, 50_000)
    progress.heard(1, 40_000)
    progress.passed(9_999)
    assert progress.watermark() is None
    progress.passed(50_001)
    assert progress.watermark() == 38_999


def test_who_has_heard_nothing_is_idle_later_than_who_has() -> None:
    progress = Progress(SOURCE, None)
    progress.passed(59_999)
    assert not progress.is_idle(60_000)
    progress.passed(1)
    assert progress.is_idle(60_000) and progress.is_idle()
    progress.heard(0, 50_000)
    progress.passed(5_000)
    progress.heard(1, 50_000)
    progress.passed(9_999)
    assert not progress.is_idle(60_000)
    progress.passed(1)
    assert progress.is_idle(60_000)


def test_what_has_ended_is_silent_for_ever() -> None:
    progress = Progress(SOURCE, 2)
    progress.heard(0, 50_000)
    progress.passed(2**63 - 1)
    assert progress.watermark() == 48_999 and progress.is_idle(60_000)
    progress.passed(2**63 - 1)
    assert progress.is_idle(60_000)
