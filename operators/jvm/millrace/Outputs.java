package millrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.util.Collector;

/** Takes an output batch (schemas/output_batch.py, version 1) apart into the records that a sink writes. */
public final class Outputs implements FlatMapFunction<byte[], ProducerRecord<byte[], byte[]>>, ResultTypeQueryable<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;
    private static final int KEYS = 1;
    private static final int HEADERS = 2;
    private static final int TIMES = 4;
    private final String topic;

    /** `topic`: of the records; a folder's name where they go to files. */
    public Outputs(String topic) {
        this.topic = topic;
    }

    @Override
    public void flatMap(byte[] batch, Collector<ProducerRecord<byte[], byte[]>> out) {
        ByteBuffer in = ByteBuffer.wrap(batch).order(ByteOrder.LITTLE_ENDIAN);
        int version = in.get();
        if (version != 1) {
            throw new IllegalStateException("an output batch of version " + version + ": the jar and the Python code are not of one release");
        }
        int flags = in.get();
        int count = in.getInt();
        long[] times = new long[(flags & TIMES) != 0 ? count : 1];
        in.asLongBuffer().get(times);
        in.position(in.position() + 8 * times.length);
        int[] lengths = ints(in, count);
        int[] keyLengths = (flags & KEYS) != 0 ? ints(in, count) : null;
        int[] headerLengths = (flags & HEADERS) != 0 ? ints(in, count) : null;
        int key = in.position() + sum(lengths);
        int header = key + (keyLengths == null ? 0 : sum(keyLengths));
        ByteBuffer keys = at(batch, key);
        ByteBuffer headers = at(batch, header);
        for (int i = 0; i < count; i++) {
            long time = times[times.length > 1 ? i : 0];
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                    topic, null, time < 0 ? null : (Long) time, keyLengths == null ? null : bytes(keys, keyLengths[i]), bytes(in, lengths[i]));
            if (headerLengths != null) {
                int end = headers.position() + headerLengths[i];
                while (headers.position() < end) {
                    String name = new String(bytes(headers, headers.getInt()), StandardCharsets.UTF_8);
                    record.headers().add(name, bytes(headers, headers.getInt()));
                }
            }
            out.collect(record);
        }
    }

    private static ByteBuffer at(byte[] batch, int position) {
        ByteBuffer buffer = ByteBuffer.wrap(batch).order(ByteOrder.LITTLE_ENDIAN);
        buffer.position(position);
        return buffer;
    }

    private static int[] ints(ByteBuffer in, int count) {
        int[] values = new int[count];
        in.asIntBuffer().get(values);
        in.position(in.position() + 4 * count);
        return values;
    }

    private static int sum(int[] lengths) {
        int sum = 0;
        for (int length : lengths) {
            sum += Math.max(length, 0);
        }
        return sum;
    }

    private static byte[] bytes(ByteBuffer in, int length) {
        if (length < 0) {
            return null;
        }
        byte[] value = new byte[length];
        in.get(value);
        return value;
    }

    @Override
    @SuppressWarnings({"unchecked", "rawtypes"})
    public TypeInformation<ProducerRecord<byte[], byte[]>> getProducedType() {
        return (TypeInformation) TypeInformation.of(ProducerRecord.class);
    }
}
