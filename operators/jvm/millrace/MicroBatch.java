package millrace;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;

/**
 * Records of one data type and one source, in the layout of schemas/state/README.md, version 1, which
 * schemas/micro_batch.py reads and writes.
 */
final class MicroBatch {
    private static final byte VERSION = 1;
    private static final int KEYS = 1;
    private static final int HEADERS = 2;
    private static final int NULL = -1;
    private static final long NO_TIME = Long.MIN_VALUE;

    final String key;
    private final byte[] dataType;
    private final byte[] source;
    // they grow, and are used again: little to begin with, since records may name thousands of data types at a time
    private final Bytes offsets = new Bytes(1 << 7);
    private final Bytes times = new Bytes(1 << 7);
    private final Bytes partitions = new Bytes(1 << 6);
    private final Bytes payloadLengths = new Bytes(1 << 6);
    private final Bytes keyLengths = new Bytes(1 << 6);
    private final Bytes headerLengths = new Bytes(1 << 6);
    private final Bytes payloads = new Bytes(1 << 10);
    private final Bytes keys = new Bytes(0);
    private final Bytes headers = new Bytes(0);
    private boolean keyed;
    private int count;

    MicroBatch(String key, String dataType, String source) {
        this.key = key;
        this.dataType = dataType.getBytes(StandardCharsets.UTF_8);
        this.source = source.getBytes(StandardCharsets.UTF_8);
    }

    int count() {
        return count;
    }

    int bytes() {
        return payloads.size() + keys.size() + headers.size();
    }

    void add(ConsumerRecord<byte[], byte[]> record) {
        offsets.put(record.offset(), 8);
        // A producer may send -1 or a time before 1970, which no producer of ours can write again.
        times.put(record.timestamp() < 0 ? NO_TIME : record.timestamp(), 8);
        partitions.put(record.partition(), 4);
        put(record.value(), payloads, payloadLengths);
        put(record.key(), keys, keyLengths);
        keyed |= record.key() != null;
        int before = headers.size();
        for (Header header : record.headers()) {
            put(header.key().getBytes(StandardCharsets.UTF_8), headers, headers);
            put(header.value(), headers, headers);
        }
        headerLengths.put(headers.size() - before, 4);
        count++;
    }

    private static void put(byte[] value, Bytes to, Bytes lengths) {
        lengths.put(value == null ? NULL : value.length, 4);
        if (value != null) {
            to.put(value);
        }
    }

    /** The bytes of the micro-batch, which is empty afterwards. */
    byte[] take() {
        boolean headed = headers.size() > 0;
        int arrays = 24 + (keyed ? 4 : 0) + (headed ? 4 : 0);
        int size = 12 + dataType.length + source.length + arrays * count + bytes();
        ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        out.put(VERSION).put((byte) ((keyed ? KEYS : 0) | (headed ? HEADERS : 0)));
        out.putShort((short) dataType.length).putShort((short) source.length).putShort((short) 0).putInt(count);
        out.put(dataType).put(source);
        for (Bytes array : new Bytes[] {offsets, times, partitions, payloadLengths}) {
            array.putTo(out);
        }
        if (keyed) {
            keyLengths.putTo(out);
        }
        if (headed) {
            headerLengths.putTo(out);
        }
        for (Bytes held : new Bytes[] {payloads, keys, headers}) {
            held.putTo(out);
        }
        for (Bytes held : new Bytes[] {offsets, times, partitions, payloadLengths, keyLengths, headerLengths, payloads, keys, headers}) {
            held.clear();
        }
        keyed = false;
        count = 0;
        return out.array();
    }
}
