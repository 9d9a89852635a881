"""The model stream: descriptors as they were published, read once and sent to whoever needs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyflink.common import Row
from pyflink.datastream import DataStream, KeyedStream
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.flink_internals import keyed_by_first
from operators.for_instances import for_each_instance
from operators.key_groups import KeyGroups
from operators.keyed_bytes import KeyedBytes
from operators.rows import KEYED_BYTES, to_rows
from schemas.errors import DescriptorError
from schemas.micro_batch import decode_micro_batch
from schemas.results.records import ModelEvent
from udfs.models.descriptor import parse
from udfs.models.model_store import ModelStore, StoreSpec
from udfs.models.signing.gate import SignatureGate, SigningSpec


@dataclass(frozen=True, slots=True)
class PublishedModels:
    """The streams of what was published. One instance reads the model stream, so its order is that of all."""

    descriptors: DataStream

    @classmethod
    def of(cls, batches: KeyedStream, store: StoreSpec, signing: SigningSpec) -> PublishedModels:
        """`batches`: micro-batches of descriptors, of one instance."""
        read = batches.process(ReadModels(store, signing), KEYED_BYTES).set_parallelism(1)
        return cls(read.name("read models").uid("read-models").set_buffer_timeout(0).disable_chaining())

    def by_data_type(self) -> KeyedStream:
        """Each descriptor under its data type."""
        return keyed_by_first(self.descriptors, KEYED_BYTES)

    def by_instance(self, groups: KeyGroups, uid: str, parallelism: int | None = None) -> KeyedStream:
        """Each descriptor once for every instance of an operator of this parallelism, under the instance's
        key."""
        copies = for_each_instance(
            self.descriptors,
            KEYED_BYTES,
            groups,
            name=f"models for {uid}",
            uid=f"models-{uid}",
            parallelism=parallelism,
        )
        return keyed_by_first(copies, KEYED_BYTES)


class ReadModels(KeyedProcessFunction):
    """Micro-batches of descriptors as rows of a data type and a descriptor, whose content is in the model
    store. Side output: MODEL_EVENTS, of what is refused for its signature, of which nothing else goes on.

    Bytes that are no descriptor go on as they are, to be refused where events are sent.
    """

    def __init__(self, store: StoreSpec, signing: SigningSpec) -> None:
        self._code = code_digest()
        self._spec, self._signing = store, signing

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._store, self._gate = ModelStore(self._spec), SignatureGate(self._signing)
        self._counters = KeyedBytes(context, "signature-counters")

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        batch = decode_micro_batch(value)
        for row, descriptor in enumerate(batch.payloads):
            if row in batch.null_payloads:  # a deletion by compaction says nothing about what serves
                continue
            admitted = self._gate.admit(descriptor, self._counters)
            if isinstance(admitted, ModelEvent):
                yield from to_rows([admitted])
                continue
            try:
                published = parse(admitted)
            except DescriptorError:
                yield Row("", admitted)
                continue
            yield Row(published.data_type, self._store.keep(admitted, published))
