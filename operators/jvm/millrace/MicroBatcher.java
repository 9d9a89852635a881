package millrace;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.apache.flink.runtime.io.network.api.writer.ResultPartitionWriter;
import org.apache.flink.runtime.io.network.partition.ResultPartition;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Gathers records into micro-batches: rows of a key and a micro-batch's bytes.
 *
 * <p>A micro-batch leaves when it has `maxRecords` or `maxBytes`; else `minMillis` after the one before it, if
 * what follows has taken that one, and at the latest after `maxMillis`. So an idle job answers at once, and a
 * busy one gathers. Where timers come late the processors are busy, with whatever: then micro-batches leave
 * further apart, each lateness counting LATE_COUNTS times, since each costs the same however few records it has.
 * All that is gathered leaves before a checkpoint's barrier, before a watermark and at the end of the input: the
 * operator keeps no record and loses none. Its state says in which mode Python runs behind it, and under which keys: Python's
 * state of the other mode has other names and other bytes, that under other keys is never asked for, and both would be taken
 * for none. With `marks` an empty byte string follows what left before a barrier:
 * so what comes after can write, before its checkpoint, what it has in memory. With `beatMillis` eight bytes say how many
 * milliseconds have passed here without this operator being held up. So time travels as records do: who hears beats and no
 * records knows that there are none, while silence by its own clock may be a channel that is blocked or a busy neighbour.
 * Of an input that has ended nothing more will come, as if all time had passed.
 */
public final class MicroBatcher extends AbstractStreamOperator<Row>
        implements OneInputStreamOperator<ConsumerRecord<byte[], byte[]>, Row>, BoundedOneInput, ProcessingTimeCallback {
    private static final long serialVersionUID = 1L;
    private static final long LOOK_AGAIN_MILLIS = 2;
    private static final int LATE_COUNTS = 3;
    private static final long LOOK_MILLIS = 100;
    private static final long COUNTED_MILLIS = 250;
    private static final int LONGEST_NAME = 200; // of a data type, as in schemas/names.py: none that is longer has a model

    private final String kind;
    private final HashMap<String, String> dataTypes;
    private final String header;
    private final String[] keys;
    private final int maxRecords;
    private final int maxBytes;
    private final long minMillis;
    private final long maxMillis;
    private final long sampled;
    private final boolean marks;
    private final long beatMillis;

    private transient LinkedHashMap<String, MicroBatch> open;
    private transient ResultPartitionWriter[] outputs;
    private transient StreamRecord<Row> reused;
    private transient String instanceKey;
    private transient boolean waiting;
    private transient boolean ended;
    private transient long since;
    private transient long sent;
    private transient double late;
    private transient long looked;
    private transient long passed;

    /**
     * `mode`: python.execution-mode. `dataTypes`: topic to data type; a topic that is not in it names its own. `header`: of a record, whose
     * text is its data type instead; null: none. `keys`: one a key group, so that a micro-batch stays on the
     * instance that read it; null: the key is the data type. `sample`: the share of the records that is not left
     * out, by partition and offset, so that a replay takes the same ones. `marks` and `beatMillis` (0: no beats)
     * want keys.
     */
    public MicroBatcher(String mode, Map<String, String> dataTypes, String header, String[] keys, int maxRecords, int maxBytes, long minMillis, long maxMillis, double sample, boolean marks, long beatMillis) {
        this.kind = mode + " mode, by " + (keys == null ? "data type" : "instance");
        this.dataTypes = new HashMap<>(dataTypes);
        this.header = header;
        this.keys = keys;
        this.maxRecords = maxRecords;
        this.maxBytes = maxBytes;
        this.minMillis = minMillis;
        this.maxMillis = maxMillis;
        this.sampled = (long) (sample * (1L << 32));
        this.marks = marks;
        this.beatMillis = beatMillis;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        ListState<String> kinds = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("kind", String.class));
        for (String before : kinds.get()) {
            if (!before.equals(kind)) {
                throw new SuppressRestartsException(new IllegalStateException("the savepoint is of a job of another kind (" + before
                        + "; this one: " + kind + "), and what Python kept in it cannot be read here. Start the same job in the same"
                        + " mode, or without the savepoint"));
            }
        }
        kinds.update(List.of(kind));
    }

    @Override
    public void open() throws Exception {
        super.open();
        open = new LinkedHashMap<>();
        outputs = getContainingTask().getEnvironment().getAllWriters();
        reused = new StreamRecord<>(null);
        instanceKey = keys == null ? null : ToInstance.key(getRuntimeContext().getTaskInfo(), keys);
        if (beatMillis > 0) {
            looked = getProcessingTimeService().getCurrentProcessingTime();
            getProcessingTimeService().registerTimer(looked + LOOK_MILLIS, this::beat);
        }
    }

    @Override
    public void processElement(StreamRecord<ConsumerRecord<byte[], byte[]>> element) {
        ConsumerRecord<byte[], byte[]> record = element.getValue();
        if ((record.offset() * 0x9E3779B97F4A7C15L + record.partition() * 0xBF58476D1CE4E5B9L) >>> 32 >= sampled) {
            return;
        }
        Header own = header == null ? null : record.headers().lastHeader(header);
        String type = own == null || own.value() == null ? null : nameIn(own.value());
        String slot = type == null ? record.topic() : record.topic() + '\0' + type;
        MicroBatch into = open.get(slot);
        if (into == null) {
            // of a file's path below the folder that is read, the first folder
            String dataType = type != null ? type : dataTypes.getOrDefault(record.topic(), record.topic().split("/", 2)[0]);
            into = new MicroBatch(keys == null ? dataType : instanceKey, dataType, record.topic());
            open.put(slot, into);
        }
        into.add(record);
        if (into.count() >= maxRecords || into.bytes() >= maxBytes) {
            emit(into);
        } else if (!waiting) {
            waiting = true;
            since = getProcessingTimeService().getCurrentProcessingTime();
            long gap = Math.min(maxMillis, minMillis + (long) (LATE_COUNTS * late));
            getProcessingTimeService().registerTimer(Math.max(since + 1, sent + gap), this);
        }
    }

    /**
     * The text of a header, no longer than tells that no data type has that name: in characters as Python counts them, which takes
     * no half of one.
     */
    private static String nameIn(byte[] header) {
        String name = new String(header, 0, Math.min(header.length, 4 * (LONGEST_NAME + 1)), StandardCharsets.UTF_8);
        boolean fits = name.length() <= LONGEST_NAME + 1 || name.codePointCount(0, name.length()) <= LONGEST_NAME + 1;
        return fits ? name : name.substring(0, name.offsetByCodePoints(0, LONGEST_NAME + 1));
    }

    private void emit(MicroBatch from) {
        sent = getProcessingTimeService().getCurrentProcessingTime();
        output.collect(reused.replace(Row.of(from.key, from.take())));
    }

    private void emitAll() {
        open.values().stream().filter(one -> one.count() > 0).forEach(this::emit);
        if (open.size() > 1024) { // files come and go
            open.clear();
        }
    }

    @Override
    public void onProcessingTime(long at) {
        late += (getProcessingTimeService().getCurrentProcessingTime() - at - late) / 8;
        // of an output's buffers one is open, and may have been read
        waiting = at < since + maxMillis
                && Arrays.stream(outputs).anyMatch(o -> o instanceof ResultPartition && ((ResultPartition) o).getNumberOfQueuedBuffers() > 1);
        if (waiting) {
            getProcessingTimeService().registerTimer(at + LOOK_AGAIN_MILLIS, this);
        } else {
            emitAll();
        }
    }

    private void beat(long at) {
        if (ended) {
            return;
        }
        long now = getProcessingTimeService().getCurrentProcessingTime();
        // where a timer comes much later, records were held up as it was
        passed += Math.min(now - looked, COUNTED_MILLIS);
        looked = now;
        if (passed >= beatMillis) {
            emitAll();
            emitBeat(passed);
            passed = 0;
        }
        getProcessingTimeService().registerTimer(now + LOOK_MILLIS, this::beat);
    }

    private void emitBeat(long millis) {
        output.collect(reused.replace(Row.of(instanceKey, ByteBuffer.allocate(Long.BYTES).putLong(millis).array())));
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpoint) {
        emitAll();
        if (marks && !ended) {
            output.collect(reused.replace(Row.of(instanceKey, new byte[0])));
        }
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        emitAll();
        if (beatMillis > 0 && mark.getTimestamp() == Long.MAX_VALUE) {
            emitBeat(Long.MAX_VALUE);
        }
        super.processWatermark(mark);
    }

    @Override
    public void endInput() {
        emitAll();
        ended = true;
    }
}
