package millrace;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.flink.api.common.serialization.Encoder;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Writes a record's message to a file, with what ends each: a line's end, or nothing where a file holds one message. */
public final class ToFiles implements Encoder<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;
    private final byte[] end;

    public ToFiles(byte[] end) {
        this.end = end;
    }

    @Override
    public void encode(ProducerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        out.write(record.value());
        out.write(end);
    }
}
