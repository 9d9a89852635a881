"""Runs a command with a time limit, and ends all of it when that has passed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from schemas.errors import SettingsError

GRACE_S = 5.0
"""Between asking the command to end and ending it."""


class BoundedCommand:
    """A command in a process group of its own, with `more` in its environment and our output as its own.

    Raises `SettingsError` where it cannot be started.
    """

    def __init__(self, words: Sequence[str], more: Mapping[str, str], seconds: float) -> None:
        self.started = time.monotonic()
        self._until = self.started + seconds
        self.timed_out = False
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the caller's own command, without a shell
                list(words), env={**os.environ, **more}, start_new_session=True, stdin=subprocess.DEVNULL
            )
        except OSError as e:
            raise SettingsError(f"the command cannot be run: {words[0]}: {e.strerror or e}") from None

    def wait(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal; None where it still runs after so long."""
        try:
            code = self._process.wait(max(0.0, min(seconds, self._until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() < self._until:
                return None
            self.timed_out = True
            return self.end()
        self._signal(signal.SIGKILL)  # what it left behind in its group
        return code

    def end(self) -> int:
        """Ask it to end, wait for a moment, and end it with all that it started in its group."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._signal(signal.SIGKILL)
        return self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
