package millrace;

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.flink.api.common.state.MapState;

/** Many entries of map state in one crossing from Python: a crossing costs more than finding the entry. */
public final class MapEntries {
    /** Of each key, in order, the length of its value in four bytes (-1: it has none), little-endian, and the value. */
    public byte[] get(MapState<String, byte[]> state, List<String> keys) throws Exception {
        Bytes found = new Bytes(64 * keys.size());
        for (String key : keys) {
            byte[] value = state.get(key);
            found.put(value == null ? -1 : value.length, 4);
            if (value != null) {
                found.put(value);
            }
        }
        ByteBuffer all = ByteBuffer.allocate(found.size());
        found.putTo(all);
        return all.array();
    }
}
