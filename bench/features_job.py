"""The feature job under measurement, on a cluster of its own: one task manager of one slot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bench.features_workload import declare
from bench.subjects import ClusterJob, JobSpec
from bench.topics import RunTopics
from devservices.kafka import KafkaBroker
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


class FeatureJob(ClusterJob):
    """`kind`: STORES or NOWHERE. Entered when every task runs. `history` is the folder of Parquet files.
    Where there are several instances, they are slots of one task manager."""

    def __init__(
        self, services: Services, topics: RunTopics, kind: str = STORES, parallelism: int = 1
    ) -> None:
        super().__init__(JobSpec(_JOBS[kind], parallelism=parallelism))
        self.kind, self.history = kind, services.folder / f"history-{topics.prefix}"
        self._declarations = services.folder / f"{topics.prefix}.toml"
        declare(self._declarations, topics.name("events"))
        self._topics, self._store = topics, services.store

    def cancel(self) -> None:
        self.cluster.rest.cancel(self.job_id)

    def settings(self) -> dict[str, str]:
        return {
            "name": f"bench-{self._topics.prefix}",
            "declarations": str(self._declarations),
            "kafka.bootstrap": self._topics.broker.bootstrap,
            "kafka.group": self._topics.prefix,
            "kafka.start": "earliest",
            "kafka.dead-letters": self._topics.name("dead-letters"),
            # The events come in a transaction, which opens the stream for all at one moment.
            "kafka.client": json.dumps({"isolation.level": "read_committed"}),
            "redis": json.dumps({"url": self._store.url, "project": self._store.project}),
            "history.url": str(self.history),
        }
