"""What came of alerts: a line of JSON, or a message, that `millrace on-alert` writes."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.versioned import read_formatted

RunState = Literal["started", "done", "failed", "timed_out", "stopped", "interrupted", "passed_over"]
RUN_FORMAT = 1


class AlertRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the command, for all of `alerts` (their ids).

    `started` is written before the command runs, and one of the others after it: `interrupted` where the
    process that ran it is gone, so that nobody knows what came of it. `passed_over` alerts came too soon
    after a run, and caused none. `code`: the command's exit code, negative for a signal. Times are epoch
    milliseconds.
    """

    state: RunState
    alerts: tuple[str, ...]
    at: int
    command: str = ""
    data_types: tuple[str, ...] = ()
    text: str = ""
    code: int | None = None
    seconds: float = 0.0
    reason: str = ""
    format: int = RUN_FORMAT


def write_run(run: AlertRun) -> bytes:
    return msgspec.json.encode(run)


def read_run(data: bytes) -> AlertRun:
    """What `write_run` wrote. Raises `StatisticsError` for what is none, or of a newer format."""
    return read_formatted(_RUNS.decode, data, "run of a command", RUN_FORMAT)


_RUNS = msgspec.json.Decoder(AlertRun)
