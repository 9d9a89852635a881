package millrace;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.flink.api.common.serialization.Encoder;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Writes a record's message as it is, for files that hold one message each. */
public final class ToFiles implements Encoder<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    @Override
    public void encode(ProducerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        out.write(record.value());
    }
}
