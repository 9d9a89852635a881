package millrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.util.Collector;

/** Takes an output batch (schemas/output_batch.py, version 2) apart into the records that a sink writes. */
public final class Outputs implements FlatMapFunction<byte[], ProducerRecord<byte[], byte[]>>, ResultTypeQueryable<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;
    private static final int KEYS = 1;
    private static final int HEADERS = 2;
    private static final int TIMES = 4;
    /** How far ahead of this machine's clock a message's time may be: by default a topic takes an hour, and refuses whole batches for more. */
    private static final long AHEAD_MILLIS = 30 * 60_000;
    private final String topic;

    /** `topic`: of the records; a folder's name where they go to files. */
    public Outputs(String topic) {
        this.topic = topic;
    }

    /** A value for each message, or one for all. */
    private static final class Column {
        final byte[] batch;
        final int constant;
        final int[] lengths;
        int at;

        Column(ByteBuffer in, int count) {
            batch = in.array();
            constant = in.getInt();
            lengths = new int[constant < 0 ? count : 0];
            in.asIntBuffer().get(lengths);
            at = in.position() + 4 * lengths.length;
            in.position(at + Math.max(constant, 0) + Arrays.stream(lengths).map(length -> Math.max(length, 0)).sum());
        }

        int length(int message) {
            return constant < 0 ? lengths[message] : constant;
        }
    }

    @Override
    public void flatMap(byte[] batch, Collector<ProducerRecord<byte[], byte[]>> out) {
        ByteBuffer in = ByteBuffer.wrap(batch).order(ByteOrder.LITTLE_ENDIAN);
        int version = in.get();
        if (version != 2) {
            throw new IllegalStateException("an output batch of version " + version + ": the jar and the Python code are not of one release");
        }
        int flags = in.get();
        int columns = in.getShort();
        int count = in.getInt();
        long[] times = new long[(flags & TIMES) != 0 ? count : 1];
        in.asLongBuffer().get(times);
        in.position(in.position() + 8 * times.length);
        Column[] texts = columns(in, columns, count);
        Column[] keys = columns(in, flags & KEYS, count);
        Column[] headers = columns(in, (flags & HEADERS) / HEADERS, count);
        for (int i = 0; i < count; i++) {
            long time = times[times.length > 1 ? i : 0];
            boolean unknown = time < 0 || time > System.currentTimeMillis() + AHEAD_MILLIS; // the producer's own time then
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                    topic, null, unknown ? null : (Long) time, next(keys, i), next(texts, i));
            byte[] packed = next(headers, i);
            ByteBuffer own = ByteBuffer.wrap(packed == null ? new byte[0] : packed).order(ByteOrder.LITTLE_ENDIAN);
            while (own.hasRemaining()) {
                String name = new String(bytes(own, own.getInt()), StandardCharsets.UTF_8);
                record.headers().add(name, bytes(own, own.getInt()));
            }
            out.collect(record);
        }
    }

    private static Column[] columns(ByteBuffer in, int number, int count) {
        Column[] columns = new Column[number];
        for (int i = 0; i < number; i++) {
            columns[i] = new Column(in, count);
        }
        return columns;
    }

    /** The message's value of each column, joined; null where the first is null, or there is none. */
    private static byte[] next(Column[] columns, int message) {
        if (columns.length == 0 || columns[0].length(message) < 0) {
            return null;
        }
        int size = 0;
        for (Column column : columns) {
            size += column.length(message);
        }
        byte[] value = new byte[size];
        int end = 0;
        for (Column column : columns) {
            int length = column.length(message);
            System.arraycopy(column.batch, column.at, value, end, length);
            column.at += column.constant < 0 ? length : 0;
            end += length;
        }
        return value;
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
