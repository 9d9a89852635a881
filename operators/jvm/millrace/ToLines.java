package millrace;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.flink.api.common.serialization.Encoder;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Writes a record's message as one line of a file. */
public final class ToLines implements Encoder<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    @Override
    public void encode(ProducerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        out.write(record.value());
        out.write('\n');
    }
}
