package millrace;

import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.FilterFunction;
import org.apache.flink.types.Row;

/**
 * The watermark that a row of events carries, behind it as Flink's own. A row is a key and a value, which begins
 * with the watermark; the last field of the value are the events. Rows without events end in the filter.
 *
 * <p>A row without events at the greatest time says that its instance is idle: it holds nobody back until its next row
 * of another kind but a mark (events are an empty byte string). Only who reads knows that: silence here may be the
 * instance's being held up by another output. Without `mayBeIdle` no instance ever is.
 */
public final class EventWatermarks implements WatermarkStrategy<Row>, FilterFunction<Row> {
    private static final long serialVersionUID = 2L;
    private final boolean mayBeIdle;

    public EventWatermarks(boolean mayBeIdle) {
        this.mayBeIdle = mayBeIdle;
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
        return new WatermarkGenerator<>() {
            @Override
            public void onEvent(Row row, long time, WatermarkOutput output) {
                byte[] events = events(row);
                long watermark = (Long) ((Row) row.getField(1)).getField(0);
                if (events == null && watermark == Long.MAX_VALUE) {
                    if (mayBeIdle) {
                        output.markIdle();
                    }
                } else if (events == null || events.length > 0) {
                    output.markActive();
                    output.emitWatermark(new Watermark(watermark));
                }
            }

            @Override
            public void onPeriodicEmit(WatermarkOutput output) {}
        };
    }
}
