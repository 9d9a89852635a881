"""When an instance holds the others back, and when it is idle: `EventWatermarks.java` by a clock of ours."""

from __future__ import annotations

from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from operators.environment import FlinkSpec, make_environment
from operators.event_watermark import IDLE
from operators.flink_internals import own_class
from tests.operators.test_uids import JARS

START = 60_000
AT = 1_700_000_000_000
FLINK = "org.apache.flink.api.common.eventtime."


class Context:
    """What a generator is made with."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def getInputActivityClock(self) -> Any:  # noqa: N802
        return self._clock

    class Java:
        implements = (FLINK + "WatermarkGeneratorSupplier$Context",)


class Output:
    """What a generator says, in order."""

    def __init__(self) -> None:
        self.said: list[int | str] = []

    def emitWatermark(self, watermark: Any) -> None:  # noqa: N802
        self.said.append(watermark.getTimestamp())

    def markIdle(self) -> None:  # noqa: N802
        self.said.append("idle")

    def markActive(self) -> None:  # noqa: N802
        self.said.append("active")

    class Java:
        implements = (FLINK + "WatermarkOutput",)


class Instance:
    """One that watches its rows; time passes as it is told."""

    def __init__(self, start: int = START) -> None:
        make_environment(FlinkSpec(jars=JARS))
        self._java = get_gateway().jvm
        self._clock = self._java.org.apache.flink.util.clock.ManualClock()
        self._output = Output()
        made = own_class("EventWatermarks")(start)
        self._generator = made.createWatermarkGenerator(Context(self._clock))

    def wait(self, ms: int, step: int = 200) -> list[int | str]:
        """What is said after so long, looked at in steps."""
        for passed in range(0, ms, step):
            self._clock.advanceTime(self._java.java.time.Duration.ofMillis(min(step, ms - passed)))
            self._generator.onPeriodicEmit(self._output)
        return self.said()

    def row(self, watermark: int, events: bytes | None) -> list[int | str]:
        self._generator.onEvent(self._row("key", self._row(watermark, events)), 0, self._output)
        return self.said()

    def said(self) -> list[int | str]:
        said, self._output.said = self._output.said, []
        return said

    def _row(self, *values: Any) -> Any:
        row = self._java.org.apache.flink.types.Row.withPositions(len(values))
        for place, value in enumerate(values):
            row.setField(place, value)
        return row


def test_who_has_not_begun_is_waited_for() -> None:
    instance = Instance()
    assert instance.wait(START - 1) == []
    assert instance.wait(1) == ["idle"]
    assert instance.row(AT, b"events") == ["active", AT]


def test_who_was_held_up_has_not_waited() -> None:
    instance = Instance()
    assert instance.wait(10 * START, step=10 * START) == []
    assert instance.wait(START - 250) == ["idle"]


@pytest.mark.parametrize("events", [b"events", None])
def test_who_has_begun_is_idle_when_it_says_so(events: bytes | None) -> None:
    instance = Instance()
    assert instance.row(AT, events) == ["active", AT]
    assert instance.wait(10 * START) == []
    assert instance.row(IDLE, None) == ["idle"]
    assert instance.row(AT, b"") == []
    assert instance.row(AT, events) == ["active", AT]


def test_who_sends_marks_says_itself_when_it_is_idle() -> None:
    instance = Instance()
    assert instance.row(AT, b"") == []
    assert instance.wait(10 * START) == []
    assert instance.row(IDLE, None) == ["idle"]


def test_finite_input_is_never_idle() -> None:
    instance = Instance(start=0)
    assert instance.wait(10 * START) == []
    assert instance.row(IDLE, None) == []
