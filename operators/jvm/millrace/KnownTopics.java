package millrace;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * Flink's bytes of a position in a topic, after the id that the broker gave the topic; empty where that is not known. A
 * topic that was deleted and made anew under its old name has another id. A position of the one means nothing in the
 * other: read on from there, what lies below it would never be read.
 */
public final class KnownTopics implements SimpleVersionedSerializer<KafkaPartitionSplit> {
    private static final int OWN = 1000;

    private final KafkaPartitionSplitSerializer flinks = new KafkaPartitionSplitSerializer();
    private final HashMap<String, String> ids;
    private final boolean anew;

    private KnownTopics(HashMap<String, String> ids, boolean anew) {
        this.ids = ids;
        this.anew = anew;
    }

    /**
     * Flink's source, but for the bytes of its positions. `ids`: topic to id, of those that the broker told. `anew`: begin a
     * topic that was made anew at its start, else fail.
     */
    public static Object of(Source<?, ?, ?> source, HashMap<String, String> ids, boolean anew) {
        InvocationHandler calls = (InvocationHandler & Serializable) (self, method, arguments) -> {
            try {
                return method.getName().equals("getSplitSerializer") ? new KnownTopics(ids, anew) : method.invoke(source, arguments);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        };
        return Proxy.newProxyInstance(KnownTopics.class.getClassLoader(), source.getClass().getInterfaces(), calls);
    }

    @Override
    public int getVersion() {
        return OWN + flinks.getVersion();
    }

    @Override
    public byte[] serialize(KafkaPartitionSplit split) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeUTF(ids.getOrDefault(split.getTopic(), ""));
        out.write(flinks.serialize(split));
        return bytes.toByteArray();
    }

    @Override
    public KafkaPartitionSplit deserialize(int version, byte[] bytes) throws IOException {
        if (version < OWN) {
            return flinks.deserialize(version, bytes);
        }
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
        String before = in.readUTF();
        KafkaPartitionSplit split = flinks.deserialize(version - OWN, in.readAllBytes());
        String now = ids.getOrDefault(split.getTopic(), "");
        if (before.isEmpty() || now.isEmpty() || before.equals(now)) {
            return split;
        }
        if (anew) {
            return new KafkaPartitionSplit(split.getTopicPartition(), KafkaPartitionSplit.EARLIEST_OFFSET,
                    split.getStoppingOffset().orElse(KafkaPartitionSplit.NO_STOPPING_OFFSET));
        }
        throw new IOException("the topic " + split.getTopic() + " was deleted and made anew since the savepoint (its id was " + before
                + " and is " + now + "): position " + split.getStartingOffset() + " of partition " + split.getPartition()
                + " means nothing in it. Set kafka.recreated to anew to read it from its start, or start without the savepoint");
    }
}
