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
NOW, LONG = 1_000_000, 10**9


def test_the_slowest_partition_counts() -> None:
    progress = Progress(SOURCE, 2, NOW, LONG)
    progress.heard(0, 90_000, NOW)
    assert progress.watermark(NOW) is None, "the second has not been heard of"
    progress.heard(1, 50_000, NOW)
    assert progress.watermark(NOW) == 48_999
    progress.heard(1, 40_000, NOW)
    assert progress.watermark(NOW) == 48_999, "older events do not turn it back"
    progress.heard(1, 80_000, NOW)
    assert progress.watermark(NOW) == 78_999


def test_a_silent_partition_holds_nobody_back() -> None:
    progress = Progress(SOURCE, 2, NOW, LONG)
    progress.heard(0, 50_000, NOW)
    progress.heard(1, 20_000, NOW)
    progress.heard(0, 90_000, NOW + 9_999)
    assert progress.watermark(NOW + 9_999) == 18_999
    assert progress.watermark(NOW + 10_000) == 88_999
    progress.heard(1, 30_000, NOW + 10_001)
    assert progress.watermark(NOW + 10_001) == 88_999, "what it brings when it returns is late"
    progress.heard(0, 99_000, NOW + 10_002)
    progress.heard(1, 95_000, NOW + 10_002)
    assert progress.watermark(NOW + 10_002) == 93_999


def test_one_that_was_never_heard_of_is_waited_for_once() -> None:
    progress = Progress(SOURCE, 3, NOW, LONG)
    assert progress.watermark(NOW + 30_000) is None, "a source that starts late is not idle"
    progress.heard(0, 50_000, NOW + 30_000)
    assert progress.watermark(NOW + 39_999) is None
    progress.heard(0, 60_000, NOW + 39_999)
    assert progress.watermark(NOW + 40_000) == 58_999


def test_without_a_number_of_partitions_it_is_time_that_counts() -> None:
    progress = Progress(SOURCE, None, NOW, LONG)
    progress.heard(0, 50_000, NOW)
    progress.heard(0, 60_000, NOW + 9_999)
    assert progress.watermark(NOW + 9_999) is None
    assert progress.watermark(NOW + 10_000) == 58_999


def test_a_burst_before_silence_has_its_watermark() -> None:
    progress = Progress(SOURCE, None, NOW, LONG)
    progress.heard(0, 50_000, NOW)
    progress.heard(1, 60_000, NOW)
    assert progress.watermark(NOW + 9_999) is None
    assert progress.watermark(NOW + 10_000) == 48_999, "the slowest of all, where none is active"


def test_who_was_held_up_has_not_heard_silence() -> None:
    progress = Progress(SOURCE, 2, NOW)
    progress.heard(0, 90_000, NOW)
    progress.heard(1, 50_000, NOW)
    progress.heard(0, 95_000, NOW + 60_000)  # nothing came in between, since nobody asked
    assert progress.watermark(NOW + 60_000) == 48_999
    for second in range(60, 70):
        progress.heard(0, 95_000, NOW + 1000 * second)
    assert progress.watermark(NOW + 70_000) == 93_999


def test_a_partition_of_bad_records_only_holds_nobody_back() -> None:
    progress = Progress(SOURCE, 2, NOW, LONG)
    progress.heard(0, None, NOW)
    progress.heard(1, 50_000, NOW)
    assert progress.watermark(NOW) == 48_999


def test_all_silent_it_stays_where_it_is() -> None:
    progress = Progress(SOURCE, 1, NOW, LONG)
    progress.heard(0, 50_000, NOW)
    assert progress.watermark(NOW) == progress.watermark(NOW + 10**9) == 48_999


def test_a_burst_that_is_over_when_others_have_been_waited_for_counts() -> None:
    progress = Progress(SOURCE, None, NOW, LONG)
    progress.heard(0, 50_000, NOW)
    progress.heard(1, 40_000, NOW)
    assert progress.watermark(NOW + 9_999) is None
    assert progress.watermark(NOW + 60_000) == 38_999


def test_who_has_heard_nothing_is_idle_later_than_who_has() -> None:
    progress = Progress(SOURCE, None, NOW, LONG)
    assert not progress.is_idle(NOW + 59_999, 60_000)
    assert progress.is_idle(NOW + 60_000, 60_000) and progress.is_idle(NOW + 60_000)
    progress.heard(0, 50_000, NOW + 60_000)
    progress.heard(1, 50_000, NOW + 65_000)
    assert not progress.is_idle(NOW + 74_999, 60_000)
    assert progress.is_idle(NOW + 75_000, 60_000)
