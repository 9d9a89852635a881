"""When an instance holds the others back, and when it is idle: what `EventWatermarks.java` says of rows."""

from __future__ import annotations

from typing import Any

import pytest
from pyflink.java_gateway import get_gateway

from operators.environment import FlinkSpec, make_environment
from operators.event_watermark import IDLE
from operators.flink_internals import own_class
from tests.operators.test_uids import JARS

AT = 1_700_000_000_000
FLINK = "org.apache.flink.api.common.eventtime."


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
    """One that watches its rows."""

    def __init__(self, may_be_idle: bool = True) -> None:
        make_environment(FlinkSpec(jars=JARS))
        self._java = get_gateway().jvm
        self._output = Output()
        self._generator = own_class("EventWatermarks")(may_be_idle).createWatermarkGenerator(None)

    def row(self, watermark: int, events: bytes | None) -> list[int | str]:
        """What is said of it."""
        self._generator.onEvent(self._row("key", self._row(watermark, events)), 0, self._output)
        said, self._output.said = self._output.said, []
        return said

    def _row(self, *values: Any) -> Any:
        row = self._java.org.apache.flink.types.Row.withPositions(len(values))
        for place, value in enumerate(values):
            row.setField(place, value)
        return row


@pytest.mark.parametrize("events", [b"events", None])
def test_who_has_begun_is_idle_when_it_says_so(events: bytes | None) -> None:
    instance = Instance()
    assert instance.row(AT, events) == ["active", AT]
    assert instance.row(IDLE, None) == ["idle"]
    assert instance.row(AT, b"") == [], "a mark"
    assert instance.row(AT, events) == ["active", AT]


def test_who_has_not_begun_says_so_too() -> None:
    instance = Instance()
    assert instance.row(AT, b"") == []
    assert instance.row(IDLE, None) == ["idle"]


def test_finite_input_is_never_idle() -> None:
    assert Instance(may_be_idle=False).row(IDLE, None) == []
