"""The feature job under measurement, on a cluster of its own: one task manager of one slot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.features_workload import EventTopics, declare
from bench.plan import BenchError
from bench.subjects import READY_S, JobSpec
from devservices.flink_cluster import StandaloneCluster
from devservices.flink_rest import ENDED
from devservices.kafka import KafkaBroker
from devservices.process import ROOT
from devservices.redis import Redis
from udfs.stores.online.base import RedisOptions

STORES, NOWHERE = "Redis and Parquet", "blackhole"
_JOBS = {STORES: "jobs/features.py", NOWHERE: "bench/features_blackhole.py"}


@dataclass(frozen=True, slots=True)
class Services:
    """What the feature benchmarks run on; the database of Redis is emptied again and again."""

    broker: KafkaBroker
    redis: Redis
    folder: Path

    @property
    def store(self) -> RedisOptions:
        return RedisOptions(self.redis.url)


class FeatureJob:
    """`kind`: STORES or NOWHERE. Entered when every task runs. `history` is the folder of Parquet files.
    Where there are several instances, they are slots of one task manager."""

    def __init__(
        self,
        services: Services,
        topics: EventTopics,
        kind: str = STORES,
        more: Sequence[str] = (),
        parallelism: int = 1,
    ) -> None:
        self.kind, self.history = kind, services.folder / f"history-{topics.prefix}"
        self._declarations = services.folder / f"{topics.prefix}.toml"
        declare(self._declarations, topics.events)
        self._topics, self._store, self._more = topics, services.store, more
        self.parallelism = parallelism
        self.cluster = StandaloneCluster(1, JobSpec(parallelism=parallelism).cluster_settings)
        self.job_id = ""

    def __enter__(self) -> Self:
        try:
            self.cluster.start()
            job = ROOT / _JOBS[self.kind]
            self.job_id = self.cluster.run(job, *self._flags(), parallelism=self.parallelism)
            self.cluster.wait_running(self.job_id, READY_S)
        except BaseException:
            self.cluster.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is measured has been measured: no savepoint, no grace.
        for process in (*self.cluster.task_managers, self.cluster.job_manager):
            if process is not None:
                process.kill()
        self.cluster.close()

    def cancel(self) -> None:
        self.cluster.rest.cancel(self.job_id)

    def roots(self) -> Sequence[int]:
        """Task manager with its Python, and job manager."""
        processes = (*self.cluster.task_managers, self.cluster.job_manager)
        return [process.group for process in processes if process is not None]

    def check(self) -> None:
        """BenchError with the log's tail if it has ended or failed."""
        rest = self.cluster.rest
        state, failures = rest.state(self.job_id), rest.exceptions(self.job_id)
        if state in ENDED or failures:
            raise BenchError(f"{_JOBS[self.kind]} is {state} and failed.\n{failures}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its logs."""
        return self.cluster.logs(30)

    def _flags(self) -> list[str]:
        settings = {
            "name": f"bench-{self._topics.prefix}",
            "declarations": str(self._declarations),
            "kafka.bootstrap": self._topics.broker.bootstrap,
            "kafka.group": self._topics.prefix,
            "kafka.start": "earliest",
            "kafka.dead-letters": self._topics.dead_letters,
            # The events come in a transaction, which opens the stream for all at one moment.
            "kafka.client": json.dumps({"isolation.level": "read_committed"}),
            "redis": json.dumps({"url": self._store.url, "project": self._store.project}),
            "history.url": str(self.history),
        }
        return [*(part for name, value in settings.items() for part in (f"--{name}", value)), *self._more]
