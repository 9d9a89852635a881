"""The controller on a real cluster goes on where it was: from savepoints, at another parallelism, and after a
task manager's death. It decides once, and writes no plan twice."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Producer

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, ServiceError, wait_until
from millrace.kafka_stream import to_end
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import write_message
from schemas.plans.plan import Only, Split, read_plan
from tests.experiment_evidence import DECLARED, VERSION, evidence, started
from udfs.models.descriptor import DECIDE, Publication, parse

EACH = 200
BETTER = 0.92


class Controller:
    """`jobs/experiment.py` on topics of its own."""

    def __init__(self, kafka: KafkaBroker, flink: StandaloneCluster) -> None:
        self._kafka, self._flink = kafka, flink
        self._prefix = uuid.uuid4().hex[:8]
        names = ("models", "evidence", "experiments", "model-events")
        kafka.create_topics(*(f"{self._prefix}-{name}" for name in names))
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0})

    def send(self, name: str, message: bytes) -> None:
        self._producer.produce(f"{self._prefix}-{name}", message)
        assert self._producer.flush(60) == 0

    def run(self, mode: str, parallelism: int, savepoint: str | None = None) -> str:
        settings = {
            "name": f"experiment-{self._prefix}",
            "mode": mode,
            "kafka.bootstrap": self._kafka.bootstrap,
            "kafka.group": self._prefix,
            "parallelism": str(parallelism),
            "stats-seconds": "1",
        }
        settings |= {
            f"kafka.{name}": f"{self._prefix}-{name}" for name in ("models", "evidence", "experiments")
        }
        settings["kafka.model-events"] = f"{self._prefix}-model-events"
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        job_file = ROOT / "jobs" / "experiment.py"
        job = self._flink.run(job_file, *flags, savepoint=savepoint, parallelism=parallelism)
        self._flink.wait_running(job, 180)
        return job

    def plans(self) -> list[Publication]:
        found = to_end(self._kafka.bootstrap, f"{self._prefix}-models", {}, 30)
        return [one for one in (parse(value or b"") for _, value in found) if one.operation == DECIDE]

    def events(self) -> list[ExperimentEvent]:
        found = to_end(self._kafka.bootstrap, f"{self._prefix}-experiments", {}, 30)
        return [read_event(value or b"") for _, value in found]

    def show(self, number: int, share: Split) -> None:
        """The next `EACH` entities, and wait until they count, or it has ended."""
        self.send("evidence", write_message(evidence(number * EACH, EACH, share.step, BETTER)))
        taken = (number + 1) * EACH
        wait_until(
            lambda: any(one.entities >= taken or one.kind == "promoted" for one in self.events()),
            150,
            lambda: f"{taken} are to count: {self.events()[-1]}\n{self._flink.logs(15)}",
        )

    def split(self, plans: int) -> Split | None:
        """Of the plan in force, once there are so many."""
        wait_until(lambda: len(self.plans()) >= plans, 150, lambda: self._flink.logs(15))
        (split,) = read_plan(self.plans()[-1].plan).splits or (None,)
        return split


@pytest.mark.parametrize(("mode", "other"), [("thread", "process"), ("process", "thread")])
def test_it_goes_on_where_it_was_and_decides_once(
    kafka: KafkaBroker, flink: StandaloneCluster, mode: str, other: str
) -> None:
    controller = Controller(kafka, flink)
    controller.send("models", started(DECLARED))
    job = controller.run(mode, 1)
    number, plans = 0, 1
    while (split := controller.split(plans)) is not None:
        controller.show(number, split)
        if number == 0:  # the second step is on its way, and read back after the restart
            job = controller.run(mode, 2, flink.stop_with_savepoint(job))
        elif number == 1:
            flink.kill_task_manager(0)
            flink.add_task_manager()
        elif number == 2:
            job = controller.run(mode, 1, flink.stop_with_savepoint(job))
        number, plans = number + 1, len(controller.plans())
        assert number < 40, controller.events()[-1]
    savepoint = flink.stop_with_savepoint(job)
    with pytest.raises(
        ServiceError, match=rf"of another kind \({mode} mode, by instance; this one: {other} mode"
    ):
        controller.run(other, 1, savepoint)

    assert number > 3
    assert [one.version - VERSION for one in controller.plans()] == [0, 1, 2, 3]
    assert read_plan(controller.plans()[-1].plan).route == Only(("new",))
    decided = [one for one in controller.events() if one.kind != "progress"]
    assert [one.kind for one in decided] == ["started", "step", "step", "promoted"]
    assert (number - 1) * EACH <= decided[-1].entities <= number * EACH  # its plan is read a while later
