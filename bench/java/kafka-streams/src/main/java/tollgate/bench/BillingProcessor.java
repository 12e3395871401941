package tollgate.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** One record: known already, or a claim, two sums and an entry. */
final class BillingProcessor implements Processor<byte[], byte[], byte[], byte[]> {
  private static final byte[] CLAIMED = {1};

  private ProcessorContext<byte[], byte[]> context;
  private KeyValueStore<byte[], byte[]> seen;
  private KeyValueStore<byte[], byte[]> sums;

  @Override
  public void init(ProcessorContext<byte[], byte[]> given) {
    context = given;
    seen = given.getStateStore(KafkaStreamsPeer.SEEN);
    sums = given.getStateStore(KafkaStreamsPeer.SUMS);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    Peer.recordArrived();
    Usage usage;
    try {
      usage = Usage.decode(record.value());
    } catch (IOException fault) {
      throw new UncheckedIOException(fault);
    }
    byte[] claim = claim(usage);
    if (seen.get(claim) != null) {
      return;
    }
    seen.put(claim, CLAIMED);

    byte[] customer = record.key();
    byte[] before = sums.get(customer);
    long sumTokens = usage.tokens;
    long sumCostPico = usage.costPico;
    if (before != null) {
      ByteBuffer known = ByteBuffer.wrap(before);
      sumTokens += known.getLong();
      sumCostPico = Math.addExact(sumCostPico, known.getLong());
    }
    sums.put(customer, ByteBuffer.allocate(16).putLong(sumTokens).putLong(sumCostPico).array());
    context.forward(record.withValue(Entry.encode(usage, sumTokens, sumCostPico)));
  }

  /** Customer, source and event id, unmistakably: all customers of a partition share the store. */
  private static byte[] claim(Usage usage) {
    String customer = usage.customerId;
    return (customer.length() + ":" + customer + usage.identity()).getBytes(StandardCharsets.UTF_8);
  }
}
