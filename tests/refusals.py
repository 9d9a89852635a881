"""Jobs that are refused before Flink starts, in the test's own process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NoReturn

import pytest

from jobs.running import run
from jobs.settings.run import S


def refused(
    kind: type[S], check: Callable[[S], None], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line that a job says on stderr for these settings and flags. Fails where it is not refused."""

    def build(*_: object) -> NoReturn:
        raise AssertionError("the job was not refused")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = run(build, kind, arguments, check)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr().err
    (line,) = said.splitlines()
    assert code == 2 and line.startswith("error: "), said
    return line
