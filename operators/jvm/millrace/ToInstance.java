package millrace;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.types.Row;

/** Puts the instance's own key before what was broadcast to it: so every instance of what follows gets one. */
public final class ToInstance extends RichMapFunction<Row, Row> {
    private static final long serialVersionUID = 1L;
    private final String[] keys;
    private transient String key;

    public ToInstance(String[] keys) {
        this.keys = keys;
    }

    @Override
    public void open(OpenContext context) {
        key = Instance.key(getRuntimeContext().getTaskInfo(), keys);
    }

    @Override
    public Row map(Row keyed) {
        return Row.of(key, keyed.getField(1));
    }
}
