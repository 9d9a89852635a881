package millrace;

import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;

/** Which key an instance gives to what should stay on the instance of the same number behind it. */
final class Instance {
    private Instance() {}

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
