package tollgate.bench;

import java.io.IOException;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** Bytes of the topic to a usage record. */
public final class UsageSchema extends AbstractDeserializationSchema<Usage> {
  @Override
  public Usage deserialize(byte[] value) throws IOException {
    Peer.recordArrived();
    return Usage.decode(value);
  }
}
