"""Rehearse slow and stuck models: hold up the calls of some candidates, as a file says."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from udfs.ensemble.execution.clock import Clock

_LOOK_EVERY_MS = 1000.0
_LOG = logging.getLogger(__name__)


class FaultInjection:
    """`path`: a JSON object, candidate -> milliseconds each call is held up; may appear, change and go.

    It is looked at once a second at most. A file that cannot be used holds nobody up, and one line of the log
    says why. May be used from any thread.
    """

    def __init__(
        self,
        path: str | None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = Path(path) if path else None
        self._clock, self._sleep = clock or Clock(), sleep
        self._held: dict[str, float] = {}
        self._looked_at = -math.inf
        self._seen: Any = ()
        self._looking = threading.Lock()

    def hold_up(self, candidate: str) -> None:
        """Batch the caller for as long as the file says."""
        ms = self._current().get(candidate, 0.0)
        if ms > 0:
            self._sleep(ms / 1000)

    def _current(self) -> dict[str, float]:
        if self._path is None:
            return self._held
        with self._looking:  # who comes while another looks waits for what that one finds
            now = self._clock.steady()
            if now - self._looked_at >= _LOOK_EVERY_MS:
                self._look(self._path)
                self._looked_at = now
            return self._held

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            seen = None
        if seen != self._seen:
            self._held = self._read(path)
            self._seen = seen

    def _read(self, path: Path) -> dict[str, float]:
        try:
            values = json.loads(path.read_bytes())
            held = {str(name): float(ms) for name, ms in values.items()}
            wrong = [name for name, ms in held.items() if not 0 <= ms < math.inf]
            if wrong:
                raise ValueError(f"milliseconds must be 0 or more: {', '.join(wrong)}")
        except (OSError, ValueError, TypeError, AttributeError) as e:
            _LOG.warning("fault injection: %s holds nobody up: %s", path, e)
            return {}
        _LOG.warning("fault injection: calls are held up as %s says: %s", path, held)
        return held
