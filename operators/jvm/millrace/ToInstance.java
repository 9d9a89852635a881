package millrace;

import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
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
        key = key(getRuntimeContext().getTaskInfo(), keys);
    }

    @Override
    public Row map(Row keyed) {
        return Row.of(key, keyed.getField(1));
    }

    /**
     * The key of the first key group that the instance of this number owns. `keys` has one key a key group,
     * each of which Flink assigns to that key group.
     */
    static String key(TaskInfo task, String[] keys) {
        int groups = task.getMaxNumberOfParallelSubtasks();
        if (groups != keys.length) {
            throw new IllegalStateException("the job was planned for " + keys.length + " key groups, and runs with " + groups);
        }
        return keys[KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(
                groups, task.getNumberOfParallelSubtasks(), task.getIndexOfThisSubtask()).getStartKeyGroup()];
    }
}
