package millrace;

import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.FilterFunction;
import org.apache.flink.types.Row;
import org.apache.flink.util.clock.RelativeClock;

/**
 * The watermark that a row of events carries, behind it as Flink's own. A row is a key and a value, which begins
 * with the watermark; the last field of the value are the events. Rows without events end in the filter.
 *
 * <p>After `idleMillis` without rows (0: never), not counting when what follows is busy, the stream holds nobody
 * back; before its first row after `startMillis`, as a source may take long to begin. Between two looks, 200 ms apart, at
 * most 250 ms count: who was held up for longer does not know whether there were rows. Marks, whose events are an empty byte
 * string, are no sign of life: an instance that reads no partition hands them on, too.
 */
public final class EventWatermarks implements WatermarkStrategy<Row>, FilterFunction<Row> {
    private static final long serialVersionUID = 1L;
    private static final long STEP_MILLIS = 250;
    private final long idleMillis;
    private final long startMillis;

    public EventWatermarks(long idleMillis, long startMillis) {
        this.idleMillis = idleMillis;
        this.startMillis = startMillis;
    }

    private static byte[] events(Row row) {
        Row value = (Row) row.getField(1);
        return (byte[]) value.getField(value.getArity() - 1);
    }

    @Override
    public boolean filter(Row row) {
        return events(row) != null;
    }

    @Override
    public WatermarkGenerator<Row> createWatermarkGenerator(WatermarkGeneratorSupplier.Context context) {
        RelativeClock clock = context.getInputActivityClock();
        return new WatermarkGenerator<>() {
            private long looked = clock.relativeTimeMillis();
            private long silent = idleMillis - startMillis;

            @Override
            public void onEvent(Row row, long time, WatermarkOutput output) {
                byte[] events = events(row);
                if (events == null || events.length > 0) {
                    looked = clock.relativeTimeMillis();
                    silent = 0;
                    output.markActive();
                    output.emitWatermark(new Watermark((Long) ((Row) row.getField(1)).getField(0)));
                }
            }

            @Override
            public void onPeriodicEmit(WatermarkOutput output) {
                long now = clock.relativeTimeMillis();
                silent += Math.min(now - looked, STEP_MILLIS);
                looked = now;
                if (idleMillis > 0 && silent >= idleMillis) {
                    output.markIdle();
                }
            }
        };
    }
}
