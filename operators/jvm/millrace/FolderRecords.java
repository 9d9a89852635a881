package millrace;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.ArrayResultIterator;
import org.apache.flink.core.fs.Path;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Files below a folder as the records of a consumer: the topic is the file's path below the folder, the offset the
 * number of the line, the time that of reading. `whole`: a file is one record, else each of its lines is.
 */
public final class FolderRecords implements BulkFormat<ConsumerRecord<byte[], byte[]>, FileSourceSplit> {
    private static final long serialVersionUID = 1L;
    private static final int BATCH = 1024;
    private static final int BATCH_BYTES = 4 << 20;
    /** Of a line; no record is as long, so what comes after it is passed over. */
    private static final int LONGEST = 16 << 20;
    private final String root;
    private final boolean whole;

    public FolderRecords(String root, boolean whole) {
        this.root = new Path(root).toUri().getPath();
        this.whole = whole;
    }

    @Override
    public Reader<ConsumerRecord<byte[], byte[]>> createReader(Configuration config, FileSourceSplit split) throws IOException {
        return new Lines(split.path(), 0);
    }

    @Override
    public Reader<ConsumerRecord<byte[], byte[]>> restoreReader(Configuration config, FileSourceSplit split) throws IOException {
        return new Lines(split.path(), split.getReaderPosition().map(p -> p.getRecordsAfterOffset()).orElse(0L));
    }

    @Override
    public boolean isSplittable() {
        return false;
    }

    @Override
    public TypeInformation<ConsumerRecord<byte[], byte[]>> getProducedType() {
        return RawRecords.TYPE;
    }

    private final class Lines implements Reader<ConsumerRecord<byte[], byte[]>> {
        private final InputStream in;
        private final String name;
        private long line;

        Lines(Path path, long skip) throws IOException {
            String full = path.toUri().getPath();
            name = full.startsWith(root) ? full.substring(root.length()).replaceAll("^/+", "") : full;
            in = new BufferedInputStream(path.getFileSystem().open(path), 1 << 16);
            while (line < skip && next() != null) {
                line++;
            }
        }

        @Override
        @SuppressWarnings({"unchecked", "rawtypes"})
        public RecordIterator<ConsumerRecord<byte[], byte[]>> readBatch() throws IOException {
            ConsumerRecord[] records = new ConsumerRecord[whole ? 1 : BATCH];
            long first = line;
            int count = 0;
            int size = 0;
            for (byte[] value; count < records.length && size < BATCH_BYTES && (value = next()) != null; count++, line++) {
                size += value.length;
                records[count] = new ConsumerRecord<>(name, 0, line, System.currentTimeMillis(),
                        org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType.CREATE_TIME, 0, value.length, null, value,
                        new org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders(), java.util.Optional.empty());
            }
            if (count == 0) {
                return null;
            }
            ArrayResultIterator<ConsumerRecord<byte[], byte[]>> batch = new ArrayResultIterator<>();
            batch.set((ConsumerRecord<byte[], byte[]>[]) records, count, 0, first);
            return batch;
        }

        /** The next line without its end, or the whole file; null at the end. */
        private byte[] next() throws IOException {
            if (whole) {
                byte[] all = in.readAllBytes();
                return line > 0 ? null : all;
            }
            ByteArrayOutputStream held = new ByteArrayOutputStream(256);
            int c = in.read();
            if (c < 0) {
                return null;
            }
            for (; c >= 0 && c != '\n'; c = in.read()) {
                if (held.size() < LONGEST) {
                    held.write(c);
                }
            }
            byte[] text = held.toByteArray();
            return text.length > 0 && text[text.length - 1] == '\r' ? Arrays.copyOf(text, text.length - 1) : text;
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }
}
