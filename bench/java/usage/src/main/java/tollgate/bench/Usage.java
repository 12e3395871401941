package tollgate.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;

/**
 * What a peer needs of a usage record, version 1: its identity, its tokens, its reported cost.
 *
 * <p>Read with Jackson's streaming parser, the quickest way that is in common use in Java: no tree,
 * no binding. Nothing is validated and all other fields are skipped, which is less than Tollgate
 * does.
 *
 * <p>A plain class with public fields and a constructor without arguments, because Flink moves such
 * objects between operators with its own serializer; any other class would go through a slower one.
 */
public class Usage {
  private static final JsonFactory JSON = new JsonFactory();

  public String customerId;
  public String source;
  public String eventId;

  /** The sum over all token classes; they are disjoint. */
  public long tokens;

  /** Reported cost in pico-dollars, zero where the producer reported none. */
  public long costPico;

  public Usage() {}

  /** The record that these bytes state. */
  public static Usage decode(byte[] value) throws IOException {
    Usage usage = new Usage();
    try (JsonParser parser = JSON.createParser(value)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "customer_id" -> usage.customerId = parser.getText();
          case "source" -> usage.source = parser.getText();
          case "event_id" -> usage.eventId = parser.getText();
          case "tokens" -> usage.tokens = sumOfTokens(parser);
          case "cost" -> usage.costPico = Pico.parse(parser.getText());
          default -> parser.skipChildren();
        }
      }
    }
    return usage;
  }

  /**
   * Source and event id as one text, which together with the customer is what makes a record
   * unique. The length in front keeps two different pairs from ever giving the same text.
   */
  public String identity() {
    return source.length() + ":" + source + eventId;
  }

  private static long sumOfTokens(JsonParser parser) throws IOException {
    long sum = 0;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      parser.nextToken();
      sum += parser.getLongValue();
    }
    return sum;
  }
}
