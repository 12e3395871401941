package tollgate.bench;

import java.nio.file.Path;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * The job on Flink: a local cluster in one process, parallelism 1, state on the heap.
 *
 * <p>For information, not as a rival of equal terms: state is plain Java objects, saved by a
 * checkpoint every ten seconds (two or three in a run), and the sink delivers at least once.
 */
public final class FlinkPeer {
  private static final TypeInformation<byte[][]> KEY_AND_VALUE = TypeInformation.of(byte[][].class);

  private FlinkPeer() {}

  public static void main(String[] arguments) throws Exception {
    StreamExecutionEnvironment flink =
        StreamExecutionEnvironment.createLocalEnvironment(1, configuration());
    TypeInformation<Usage> usages = TypeInformation.of(Usage.class);
    flink
        .fromSource(source(), WatermarkStrategy.noWatermarks(), "usage", usages)
        .keyBy(usage -> usage.customerId, Types.STRING)
        .process(new BillingFunction(), KEY_AND_VALUE)
        .sinkTo(sink());
    flink.execute(Peer.setting("APP_ID"));
  }

  private static Configuration configuration() {
    Configuration chosen = new Configuration();
    chosen.setString("state.backend.type", "hashmap");
    chosen.setString("execution.checkpointing.interval", "10 s");
    chosen.setString(
        "execution.checkpointing.dir", Path.of(Peer.setting("STATE_DIR")).toUri().toString());
    chosen.setString("io.tmp.dirs", Peer.setting("STATE_DIR"));
    // Operators in one chain may pass an object on instead of copying it; ours keep none.
    chosen.setString("pipeline.object-reuse", "true");
    // Without RocksDB nothing uses managed memory, and one process needs few network buffers.
    chosen.setString("taskmanager.memory.managed.size", "64m");
    chosen.setString("taskmanager.memory.network.min", "64m");
    chosen.setString("taskmanager.memory.network.max", "64m");
    chosen.setString("rest.bind-port", "0");
    return chosen;
  }

  private static KafkaSource<Usage> source() {
    return KafkaSource.<Usage>builder()
        .setBootstrapServers(Peer.setting("BROKER"))
        .setTopics(Peer.setting("TOPIC"))
        .setGroupId(Peer.setting("APP_ID"))
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setValueOnlyDeserializer(new UsageSchema())
        .setProperty("max.poll.records", "5000")
        .setProperty("max.partition.fetch.bytes", Integer.toString(4 * 1024 * 1024))
        .build();
  }

  private static KafkaSink<byte[][]> sink() {
    Properties producer = new Properties();
    producer.put("compression.type", "lz4");
    producer.put("linger.ms", "20");
    producer.put("batch.size", Integer.toString(256 * 1024));
    producer.put("acks", "all");
    return KafkaSink.<byte[][]>builder()
        .setBootstrapServers(Peer.setting("BROKER"))
        .setKafkaProducerConfig(producer)
        .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
        .setRecordSerializer(
            KafkaRecordSerializationSchema.<byte[][]>builder()
                .setTopic(Peer.setting("OUT_TOPIC"))
                .setKeySerializationSchema(new PartSchema(0))
                .setValueSerializationSchema(new PartSchema(1))
                .build())
        .build();
  }
}
