package millrace;

import java.util.Collection;
import java.util.Comparator;
import java.util.Optional;
import java.util.TreeSet;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.assigners.FileSplitAssigner;

/** Gives readers the files that are known in the order of their paths; Flink's own assigners begin with the last. */
public final class InNameOrder implements FileSplitAssigner.Provider {
    private static final long serialVersionUID = 1L;

    @Override
    public FileSplitAssigner create(Collection<FileSourceSplit> splits) {
        Waiting waiting = new Waiting();
        waiting.addSplits(splits);
        return waiting;
    }

    private static final class Waiting implements FileSplitAssigner {
        private final TreeSet<FileSourceSplit> splits = new TreeSet<>(
                Comparator.comparing((FileSourceSplit s) -> s.path().getPath()).thenComparing(FileSourceSplit::splitId));

        @Override
        public Optional<FileSourceSplit> getNext(String host) {
            return Optional.ofNullable(splits.pollFirst());
        }

        @Override
        public void addSplits(Collection<FileSourceSplit> more) {
            splits.addAll(more);
        }

        @Override
        public Collection<FileSourceSplit> remainingSplits() {
            return splits;
        }
    }
}
