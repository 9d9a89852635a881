"""How long it takes from evidence to the changed plan in force, in real jobs on a broker of their own.

`jobs/experiment.py` reads evidence and writes the plan in a transaction with its state; `jobs/speculate.py`
tells when it routes by it. What is measured: from the broker having the evidence that rolls back to the
router's word. Both clocks are this machine's.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, Process, wait_until
from schemas.lifecycle.quality import EvidenceBatch, write_message
from schemas.results.records import EventKind, ModelEvent, decode
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import EXPERIMENT, build

_TOPICS = ("records", "results", "dead-letters", "model-events", "model-stats", "evidence", "experiments")
_ENTITIES = 1000
_SECONDS = 180
_VERSION = 1000


def live_canary(runs: int, seed: int) -> dict[str, float | int | bool]:
    """The figures of `runs` experiments, one after the other, each rolled back by one message of evidence."""
    rng = np.random.default_rng(seed)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="millrace-prove-")))
        broker = cleanup.enter_context(KafkaBroker())
        broker.create_topics("models", config={"retention.ms": "-1"})
        broker.create_topics(*_TOPICS)
        types: dict[str, dict[str, str]] = {f"type-{number}": {} for number in range(runs + 1)}
        routing = ["--kafka.records", '{"records": "type-0"}', "--executors.model-types", '["PMML"]']
        flags = {"speculate": [*routing, "--data-types", json.dumps(types)], "experiment": []}
        jobs = [
            cleanup.enter_context(_job(name, broker.bootstrap, folder, more)) for name, more in flags.items()
        ]
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
        events = cleanup.enter_context(_events(broker.bootstrap))
        took = [_one(number, rng, producer, events, jobs) for number in range(runs + 1)]
    took = took[1:]  # the first pays for what is imported and connected at its time
    print(f"{runs} rollbacks: from evidence to the plan in force {', '.join(f'{ms:.0f}' for ms in took)} ms")
    return {
        "rollbacks": runs,
        "evidence_to_plan_median_ms": statistics.median(took),
        "evidence_to_plan_most_ms": max(took),
        "held": max(took) < 2000,
    }


def _one(
    number: int, rng: np.random.Generator, producer: Producer, events: Consumer, jobs: list[Process]
) -> float:
    """Milliseconds of one rollback."""
    experiment = Experiment(
        name=f"canary-{number}",
        data_type=f"type-{number}",
        entity="id",
        arms={"control": Arm("old"), "treatment": Arm("new")},
        primary=Metric("correct"),
        ramp=(1.0,),
    )
    order = build(
        data_type=experiment.data_type,
        name=experiment.name,
        version=_VERSION,
        operation=EXPERIMENT,
        experiment=write_order(Order("start", experiment)),
    )
    _send(producer, "models", order)
    _decides_at(events, experiment.name, _VERSION, jobs)
    names = [f"e{k}" for k in range(_ENTITIES)]
    arms = treated(experiment, [name.encode() for name in names], 0)
    right = rng.random(_ENTITIES) < np.where(arms, 0.5, 0.9)
    evidence = EvidenceBatch(
        data_type=experiment.data_type,
        experiment=experiment.name,
        entities=tuple(names),
        arms=tuple(np.where(arms, "treatment", "control").tolist()),
        steps=(0,) * _ENTITIES,
        event_times=(1,) * _ENTITIES,
        values={"correct": tuple(right.astype(float).tolist())},
    )
    _send(producer, "evidence", write_message(evidence))
    sent = time.time_ns() / 1e6
    return _decides_at(events, experiment.name, _VERSION + 1, jobs) - sent


def _send(producer: Producer, topic: str, message: bytes) -> None:
    producer.produce(topic, message)
    if producer.flush(60):
        raise RuntimeError(f"the broker has not confirmed a message to {topic}")


def _decides_at(events: Consumer, name: str, version: int, jobs: list[Process]) -> float:
    """When the router had this plan in force, in epoch ms."""
    found: list[int] = []

    def there() -> bool:
        for message in events.consume(100, 0.05):
            if message.error() is None:
                event = decode(ModelEvent, message.value() or b"")
                if (event.kind, event.name, event.version) == (EventKind.DECIDES, name, version):
                    found.append(event.at)
        return bool(found) or any(job.exit_code is not None for job in jobs)

    wait_until(there, _SECONDS, lambda: "\n".join(job.tail(20) for job in jobs))
    if not found:
        raise RuntimeError("a job has ended:\n" + "\n".join(job.tail(20) for job in jobs))
    return float(found[0])


@contextmanager
def _job(name: str, bootstrap: str, folder: Path, more: list[str]) -> Iterator[Process]:
    command: list[str | Path] = [sys.executable, ROOT / "jobs" / f"{name}.py", "--kafka.bootstrap", bootstrap]
    command += ["--parallelism", "1", "--checkpoint-seconds", "1"]
    command += ["--flink", json.dumps({"rest.bind-port": "0"}), *more]
    logs = folder / name
    logs.mkdir()
    process = Process(name, command, logs / "job.log", {"FLINK_LOG_DIR": str(logs)})
    try:
        yield process
    finally:
        process.stop(5)


@contextmanager
def _events(bootstrap: str) -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "prove", "enable.auto.commit": False})
    consumer.assign([TopicPartition("model-events", 0, 0)])
    try:
        yield consumer
    finally:
        consumer.close()
