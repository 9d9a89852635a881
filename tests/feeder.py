"""Records that go on coming while a test does something else."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import orjson

from tests.streams import Sent, Streams


class Feeder:
    """`with Feeder(streams, per_second=500) as feeder:` sends records `{"id": n, "x": [1.0, 2.0]}`.

    They go to the topics of all data types and to all partitions in turn; `sent` is how many there are.
    """

    def __init__(self, streams: Streams, per_second: int) -> None:
        self.sent = 0
        self._streams, self._batch = streams, max(1, per_second // 50)
        self._pause = self._batch / per_second
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Send no more; returns how many were sent. Raises what sending failed with."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.sent

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                self._streams.send(map(self._record, range(self.sent, self.sent + self._batch)))
                self.sent += self._batch
                due += self._pause
                self._stop.wait(max(0.0, due - time.monotonic()))
        except BaseException as e:  # told to the test's own thread
            self._failure = e

    def _record(self, n: int) -> Sent:
        topics = self._streams.records
        return Sent(
            orjson.dumps({"id": n, "x": [1.0, 2.0]}),
            partition=n % self._streams.partitions,
            timestamp=time.time_ns() // 1_000_000,
            topic=topics[n // self._streams.partitions % len(topics)],
        )
