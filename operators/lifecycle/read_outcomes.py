"""Results or outcomes, to the instances of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pyflink.common import Row
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.flink_internals import instance_of
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from schemas.micro_batch import beat_ms, decode_micro_batch
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.messages import Delivery, encode
from udfs.lifecycle.outcomes.progress import reached


class ReadOutcomes(KeyedProcessFunction):
    """Micro-batches of `what`, marks and beats, under the key of the instance that read them. Holds no state.

    Main output: rows of DELIVERY; of a mark an empty one for each instance, so that each takes up its state;
    at a beat one for each that says how far this instance has read. Who joins cannot know that: to it a topic
    is silent while it is held up itself, and so is a partition that holds nothing for its keys.
    Side output: DEAD_LETTERS.
    """

    def __init__(self, what: Literal["results", "outcomes"], spec: JoinSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._what, self._spec, self._groups = what, spec, groups

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        instance, parallelism = instance_of(context)
        self._keys, self._instance = self._groups.keys_of_parts(parallelism), f"{instance}/{parallelism}"
        self._progress = self._spec.progress()
        reader = self._spec.reader(len(self._groups.keys), parallelism)
        self._read = reader.results if self._what == "results" else reader.outcomes

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        if passed := beat_ms(value):
            self._progress.passed(passed)
            yield from self._to_all(Delivery(reader=self._instance, reached=reached(self._progress)))
        elif not value:
            yield from self._to_all(Delivery())
        else:
            found = self._read(decode_micro_batch(value))
            yield from to_rows(found.dead)
            for partition, newest in found.newest.items():
                self._progress.heard(partition, newest)
            for part, delivery in found.deliveries.items():
                yield Row(self._keys[part], encode(delivery))

    def _to_all(self, delivery: Delivery) -> Iterator[Any]:
        encoded = encode(delivery)
        yield from (Row(key, encoded) for key in self._keys)
