package millrace;

import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Writes a record as {@link Outputs} made it, with key, headers and time. */
public final class ToKafka implements KafkaRecordSerializationSchema<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    @Override
    public ProducerRecord<byte[], byte[]> serialize(ProducerRecord<byte[], byte[]> record, KafkaSinkContext context, Long time) {
        return record;
    }
}
