"""When an instance that counts windows says how far it has read, and that it is idle: by beats alone."""

from __future__ import annotations

import orjson
import pytest

from operators.event_watermark import IDLE, START_MS
from operators.lifecycle import count_windows
from operators.lifecycle.count_windows import CountWindows
from schemas.micro_batch import MicroBatch, encode_micro_batch
from tests.feature_harness import BEAT, Keyed
from udfs.lifecycle.watching.window_counting import CountSpec

START = 1_700_000_040_000
SPEC = CountSpec(of="records", window_ms=60_000, partitions=2)
LAG = 5_001


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's own clock makes a leap each time that it is asked."""
    now = iter(range(START + 10**9, START + 10**15, 10**6))
    monkeypatch.setattr(count_windows, "_now", lambda: next(now))


def batch(partition: int, *times: int) -> bytes:
    payloads = [orjson.dumps({"x": 1.0})] * len(times)
    offsets = list(range(len(times)))
    return encode_micro_batch(MicroBatch("wine", "t", payloads, [partition] * len(times), offsets, times))


class Instance:
    def __init__(self) -> None:
        self._keyed, self._clock = Keyed(CountWindows(SPEC)), 0

    def take(self, *values: bytes) -> list[int]:
        """The watermarks that are told when the timer comes after these."""
        for value in values:
            assert self._keyed.element("0", value) == []
        self._clock += SPEC.flush_ms
        rows = self._keyed.pass_time(self._clock)
        return [row[1][0] for row in rows if row[1][1] is None]

    def journal(self) -> list[bytes]:
        return list(self._keyed.states["journal"].get("0", ()))


def test_a_silent_partition_holds_windows_back_until_beats_say_that_it_is() -> None:
    instance = Instance()
    assert instance.take(batch(0, START + 9), batch(1, START)) == [START - LAG]
    assert instance.take(batch(0, START + 70_000)) == []
    for _ in range(9):
        assert instance.take(BEAT) == []
    assert instance.take(batch(0, START + 80_000)) == []
    assert instance.take(BEAT) == [START + 80_000 - LAG]


def test_who_reads_nothing_is_idle_a_minute_after_its_start() -> None:
    instance = Instance()
    for _ in range(START_MS // 1000 - 1):
        assert instance.take(BEAT) == []
    assert instance.take(BEAT) == [IDLE]


def test_beats_are_no_records() -> None:
    instance = Instance()
    whole = batch(0, START)
    instance._keyed.element("0", whole)
    instance._keyed.element("0", BEAT)
    assert instance.journal() == [whole]
