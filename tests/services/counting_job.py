"""A job for test_devservices: count upwards in Python, with the count in Flink state.

Arguments: the topic's bootstrap servers, the input topic, the output topic. Each input record is
answered with `<how many so far>:<execution mode's process id>`.
"""

import os
import sys
from collections.abc import Iterator

from pyflink.common import SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor

from schemas import errors


class Count(KeyedProcessFunction):
    """Emit the number of records seen, this one included, and the process that counted."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value: str, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        yield f"{count}:{os.getpid()}:{errors.__name__}"


def main(bootstrap: str, source: str, sink: str) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    reader = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(source)
        .set_group_id("counting")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    schema = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(sink)
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    writer = KafkaSink.builder().set_bootstrap_servers(bootstrap).set_record_serializer(schema).build()
    records = env.from_source(reader, WatermarkStrategy.no_watermarks(), "records").uid("records")
    counted = records.key_by(lambda _: 0, Types.INT()).process(Count(), Types.STRING()).uid("count")
    counted.sink_to(writer).uid("sink")
    env.execute("counting")


if __name__ == "__main__":
    main(*sys.argv[1:])
