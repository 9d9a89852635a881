package millrace;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.runtime.state.KeyedStateBackend;
import org.apache.flink.types.Row;

/** Map state under many keys in one call: each call from Python gives the interpreter up, and waits to have it again. */
public final class GroupedMap {
    private KeyedStateBackend<Row> backend;
    private MapState<String, byte[]> state;

    /** Where Python makes an object, it can give its constructor nothing. */
    public GroupedMap of(KeyedStateBackend<Row> ofBackend, MapState<String, byte[]> ofState) {
        backend = ofBackend;
        state = ofState;
        return this;
    }

    /** The values of `names`, null where there is none: as many under each of `keys` as `counts` says, in order. */
    public List<byte[]> get(List<String> keys, List<Number> counts, List<String> names) throws Exception {
        List<byte[]> found = new ArrayList<>(names.size());
        Iterator<String> next = names.iterator();
        for (int i = 0; i < keys.size(); i++) {
            backend.setCurrentKey(Row.of(keys.get(i)));
            for (int n = counts.get(i).intValue(); n > 0; n--) {
                found.add(state.get(next.next()));
            }
        }
        return found;
    }

    /** Put `values` under `names`, laid out as for `get`; those whose value is null are removed. */
    public void change(List<String> keys, List<Number> counts, List<String> names, List<byte[]> values) throws Exception {
        Iterator<String> next = names.iterator();
        Iterator<byte[]> value = values.iterator();
        for (int i = 0; i < keys.size(); i++) {
            backend.setCurrentKey(Row.of(keys.get(i)));
            for (int n = counts.get(i).intValue(); n > 0; n--) {
                byte[] changed = value.next();
                if (changed == null) {
                    state.remove(next.next());
                } else {
                    state.put(next.next(), changed);
                }
            }
        }
    }
}
