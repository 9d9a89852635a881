package millrace;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** Bytes that grow; numbers are little-endian, as numpy reads them fastest. */
final class Bytes {
    private byte[] held;
    private int size;

    Bytes(int capacity) {
        held = new byte[capacity];
    }

    int size() {
        return size;
    }

    private int grow(int by) {
        if (size + by > held.length) {
            held = Arrays.copyOf(held, Math.max(held.length * 2, size + by));
        }
        size += by;
        return size - by;
    }

    void put(byte[] bytes) {
        int at = grow(bytes.length); // may replace `held`
        System.arraycopy(bytes, 0, held, at, bytes.length);
    }

    /** The lowest `bytes` bytes of a number. */
    void put(long value, int bytes) {
        int at = grow(bytes);
        for (int i = 0; i < bytes; i++) {
            held[at + i] = (byte) (value >>> (8 * i));
        }
    }

    void putTo(ByteBuffer out) {
        out.put(held, 0, size);
    }

    void clear() {
        size = 0;
    }
}
