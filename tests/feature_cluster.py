"""The feature jobs on a cluster, with S3 and Redis: what tests of them share."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from pyarrow.fs import FileSystem

from devservices.flink_cluster import StandaloneCluster
from devservices.flink_rest import ENDED
from devservices.process import ROOT, ServiceError, wait_until
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy
from schemas.errors import StoreError
from schemas.features.declarations import Declarations, FeatureType
from schemas.features.feature_batch import TIMESTAMP
from tests.feature_streams import read_history
from tests.streams import Streams
from udfs.io.s3 import S3Options
from udfs.stores.history.compute import compute_rows
from udfs.stores.history.consistency import comparable, rows_of
from udfs.stores.history.files import file_system, find_files, read_batches
from udfs.stores.online.base import RedisOptions, State
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.stored_views import stored_views

History = dict[str, list[tuple[Any, ...]]]
"""View -> rows, each with its event time last."""


class GrowingHistory:
    """How many rows history has from before an event time, while a job adds to it.

    A file does not change once it is there, so that each is read once: who waits would else read hundreds
    each time, by the processors that the job has.
    """

    def __init__(self, location: str, options: S3Options, until: int) -> None:
        self._location, self._options, self._until = location, options, until
        self._known: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def count(self, view: str) -> int:
        """Rows of the view; those of before where the server is only just putting a file together."""
        where = f"{self._location}/{view}"
        files, _ = file_system(where, self._options)
        with suppress(StoreError):
            found = find_files(where, self._options)
            for path in found:
                if path not in self._known:
                    self._known[path] = self._in_file(files, path)
            self._counts[view] = sum(self._known[path] for path in found)
        return self._counts[view]

    def _in_file(self, files: FileSystem, path: str) -> int:
        batches = read_batches(files, path, {TIMESTAMP: FeatureType.TIMESTAMP}, ())
        return sum(at < self._until for batch in batches for at in batch.column(TIMESTAMP).to_pylist())


class FeatureCluster:
    """The jobs on one cluster, with a bucket and a Redis project of their own."""

    def __init__(self, flink: StandaloneCluster, redis: Redis, s3: S3Proxy, folder: Path) -> None:
        self.flink, self.folder = flink, folder
        self.bucket = f"features-{time.time_ns()}"
        s3.client().create_bucket(Bucket=self.bucket)
        self.s3 = S3Options(s3.endpoint, "us-east-1", True, s3.access_key, s3.secret_key)
        self.redis = RedisOptions(redis.url, project=self.bucket)

    def url(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def flags(self, declarations: Path, history: str, **more: str) -> list[str]:
        s3 = {"endpoint": self.s3.endpoint, "region": self.s3.region, "path_style": True}
        s3 |= {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key}
        values = {
            "declarations": str(declarations),
            "redis": orjson.dumps({"url": self.redis.url, "project": self.redis.project}).decode(),
            "history.url": self.url(history),
            "history.roll-seconds": "2",
            "s3": orjson.dumps(s3).decode(),
        }
        values |= {name.replace("__", ".").replace("_", "-"): value for name, value in more.items()}
        return [part for name, value in values.items() for part in (f"--{name}", value)]

    def on_topics(self, streams: Streams) -> dict[str, str]:
        """What `flags` wants of a job that reads and writes these topics."""
        kafka = {"bootstrap": streams.broker.bootstrap, "start": "earliest", "group": self.bucket}
        kafka["dead_letters"] = streams.topic("dead-letters")
        return {f"kafka__{name}": value for name, value in kafka.items()} | {"checkpoint_seconds": "2"}

    def growing(self, history: str, until: int) -> GrowingHistory:
        return GrowingHistory(self.url(history), self.s3, until)

    def final_rows(self, declared: Declarations, until: int) -> History:
        """What is in the history of before this event time, of all views."""
        found: History = {}
        failed: list[str] = []

        def read() -> bool:
            try:
                found.update(read_history(declared, self.url("history"), self.s3))
            except StoreError as e:  # a file that the server is only just putting together
                failed.append(str(e))
                return False
            return True

        wait_until(read, 60, lambda: failed[-1])
        return {view: [r for r in of if r[-1] < until] for view, of in found.items()}

    def missing(self, streams: Streams, rows: History) -> str:
        """Said where these rows are not all that is waited for."""
        letters = Counter((letter.data_type, letter.code) for letter in streams.dead_letters())
        found = {view: len(of) for view, of in rows.items()}
        return f"rows are missing: {found}; dead letters: {letters}\n{self.flink.logs()}"

    def agrees_with_batch(self, declared: Declarations, rows: History, until: int) -> None:
        """Assert that each row of before `until` is there once, as batch computes it."""
        stored = stored_views(declared, "history")
        for view in declared.views:
            computed = rows_of(compute_rows(declared, view, self.s3), stored[view.id])
            wanted = Counter(comparable(row) for row in computed if row[-1] < until)
            assert Counter(rows[view.id]) == wanted, view.id

    def to_the_end(self, job: str, flags: list[str]) -> None:
        """Raises `ServiceError` unless the job finishes. A busy job manager may be slow to say so."""
        started, rest = self.flink.run(ROOT / "jobs" / job, *flags), self.flink.rest

        def ended() -> bool:
            try:
                return rest.state(started) in ENDED
            except OSError:
                return False

        wait_until(ended, 600, lambda: f"{job} does not end.\n{rest.exceptions(started)}")
        if (state := rest.state(started)) != "FINISHED":
            raise ServiceError(f"{job} ended {state}.\n{rest.exceptions(started)}")


def newest(rows: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Entity -> its row of the greatest event time, the last column."""
    return {row[:1]: row for row in sorted(rows, key=lambda row: row[-1])}


def online_rows(
    run: FeatureCluster, declared: Declarations, history: History
) -> dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]:
    """What Redis serves of every entity that history knows, in the form of history's rows."""
    views = stored_views(declared, "online")
    reader = RedisReader(views, run.redis)
    found: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {}
    now = time.time_ns() // 1_000_000
    for name, view in views.items():
        entities = sorted({row[:1] for row in history[name]})
        [answers] = reader.read([(name, [n for n, _ in view.features])], [entities], now)
        assert {a.state for a in answers} == {State.PRESENT}
        found[name] = {
            entity: comparable((*entity, *a.values, a.event_time))
            for entity, a in zip(entities, answers, strict=True)
        }
    reader.close()
    return found
