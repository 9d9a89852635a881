"""Decided results as they come out of a job on Kafka, and the same records decided once more from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from devservices.process import wait_until
from schemas.plans.plan import Plan
from schemas.results.decided import Decided, read_decided
from tests.streams import Streams
from udfs.ensemble.policies.replay import redecide

Plans = Mapping[tuple[str, int], Plan]
"""By name and version."""


class DecidedResults:
    """Reads on from where it stopped; `found` is all so far.

    Results of other data types than `data_type`, where one is given, are passed over.
    """

    def __init__(self, streams: Streams, data_type: str = "") -> None:
        self._data_type = data_type
        self._consumer = Consumer(
            {
                "bootstrap.servers": streams.broker.bootstrap,
                "group.id": "decided",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(streams.topic("results"), 0, 0)])
        self.found: list[Decided] = []

    def read(self) -> list[Decided]:
        """What has come since the last call, of much the first ten thousand."""
        new: list[Decided] = []
        for message in self._consumer.consume(10_000, 0.2):
            assert message.error() is None, message.error()
            decided = read_decided(message.value() or b"")
            if self._data_type in ("", decided.result.data_type):
                new.append(decided)
        self.found += new
        return new

    def wait_all(self, count: int, seconds: float = 150, otherwise: Callable[[], str] = str) -> None:
        """Return when there are so many in all."""

        def there() -> bool:
            self.read()
            return len(self.found) >= count

        wait_until(
            there, seconds, lambda: f"{len(self.found)} of {count} results, {self.found[-1:]} {otherwise()}"
        )

    def wait_new(
        self, count: int, which: Callable[[Decided], bool] = lambda _: True, seconds: float = 90
    ) -> list[Decided]:
        """Wait for so many more like that; returns all of these that have come by then."""
        new: list[Decided] = []

        def there() -> bool:
            new.extend(filter(which, self.read()))
            return len(new) >= count

        wait_until(there, seconds, lambda: f"{len(new)} of {count} results like that, {self.found[-1:]}")
        return new


def assert_decided_by_plans(results: Iterable[Decided], plans: Plans) -> None:
    """Each result says what the policy of its plan makes of the answers that are recorded with it."""
    by_plan: dict[tuple[str, int], list[Decided]] = {}
    for result in results:
        by_plan.setdefault((result.plan, result.plan_version), []).append(result)
    for named, group in by_plan.items():
        plan = plans[named]
        assert {result.deadline_ms for result in group} == {plan.deadline_ms}
        for result, again in zip(group, redecide(group, plan), strict=True):
            said = result.result
            assert (said.model, result.rule, said.reason) == (again.by, again.rule, again.reason), result
            assert said.scores == dict(again.scores), result


def time_by_broker(streams: Streams) -> None:
    """Have the broker stamp results with the time at which it gets them."""
    entry = ConfigEntry(
        "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
    )
    topic = ConfigResource(ResourceType.TOPIC, streams.topic("results"), incremental_configs=[entry])
    admin = streams.broker.admin  # its futures end with it
    for done in admin.incremental_alter_configs([topic]).values():
        done.result()


def timed_results(streams: Streams) -> list[tuple[int, Decided]]:
    """All that are committed, each with the message's time in epoch ms."""
    return [(m.timestamp()[1], read_decided(m.value() or b"")) for m in streams.read("results")]
