package tollgate.bench;

import org.apache.flink.api.common.serialization.SerializationSchema;

/** Key or value of an entry: bytes already. Flink asks for types, which a lambda has not. */
public final class PartSchema implements SerializationSchema<byte[][]> {
  private final int part;

  public PartSchema(int part) {
    this.part = part;
  }

  @Override
  public byte[] serialize(byte[][] keyAndValue) {
    return keyAndValue[part];
  }
}
