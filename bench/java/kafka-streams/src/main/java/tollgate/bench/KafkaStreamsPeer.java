package tollgate.bench;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KafkaStreams.State;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The job on Kafka Streams, by its Processor API: no windows, no serdes of its own.
 *
 * <p>Both stores are RocksDB with a changelog topic, which is what Kafka Streams is built around
 * and what makes it comparable: what it knows survives the loss of the machine.
 */
public final class KafkaStreamsPeer {
  static final String SEEN = "seen";
  static final String SUMS = "sums";

  private static final Duration CLOSE_WITHIN = Duration.ofSeconds(15);

  private KafkaStreamsPeer() {}

  public static void main(String[] arguments) throws InterruptedException {
    KafkaStreams streams = new KafkaStreams(topology(), properties());
    streams.setStateListener(
        (now, before) -> {
          if (now == State.RUNNING) {
            Peer.ready();
          }
        });
    // A fault must end the run, not restart a thread: a figure of half a run is no figure.
    streams.setUncaughtExceptionHandler(
        fault -> {
          fault.printStackTrace();
          return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_WITHIN)));
    streams.start();
    Thread.currentThread().join();
  }

  private static Topology topology() {
    Serializer<byte[]> out = Serdes.ByteArray().serializer();
    Deserializer<byte[]> in = Serdes.ByteArray().deserializer();
    // Sums are asked for again and again, so the cache in front of RocksDB saves most of the writes
    // and most of the changelog (one record per customer and commit). An identity is written once,
    // and a cache of them would only delay the same writes.
    return new Topology()
        .addSource("usage", in, in, Peer.setting("TOPIC"))
        .addProcessor("bill", BillingProcessor::new, "usage")
        .addStateStore(store(SEEN), "bill")
        .addStateStore(store(SUMS).withCachingEnabled(), "bill")
        .addSink("ledger", Peer.setting("OUT_TOPIC"), out, out, "bill");
  }

  private static StoreBuilder<KeyValueStore<byte[], byte[]>> store(String name) {
    Serde<byte[]> bytes = Serdes.ByteArray();
    return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), bytes, bytes);
  }

  private static Properties properties() {
    Properties chosen = new Properties();
    chosen.put(StreamsConfig.APPLICATION_ID_CONFIG, Peer.setting("APP_ID"));
    chosen.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Peer.setting("BROKER"));
    chosen.put(StreamsConfig.STATE_DIR_CONFIG, Peer.setting("STATE_DIR"));
    chosen.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, Peer.setting("GUARANTEE"));
    // 100 ms is the default of exactly-once (at-least-once: 30 s): a reader of committed records
    // sees a result after about that time. Both guarantees get it, so that their difference is the
    // guarantee alone. Tollgate commits every cycle, however short.
    chosen.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Peer.setting("COMMIT_INTERVAL_MS"));
    // One core: a second thread would only take turns with the first.
    chosen.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    // Reports to the broker about itself, which nobody reads here.
    chosen.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);

    chosen.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    // Large fetches and polls: the backlog is there, and a poll of 500 records, the default, costs
    // as much as one of 5,000.
    chosen.put(ConsumerConfig.FETCH_MAX_BYTES_CONFIG, 16 * 1024 * 1024);
    chosen.put(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 * 1024 * 1024);
    chosen.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 5_000);

    // Few full batches instead of many small ones. lz4 is the cheapest compression of the Java
    // client; acks=all is what exactly-once demands anyway.
    chosen.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
    chosen.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
    chosen.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
    chosen.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
    return chosen;
  }
}
