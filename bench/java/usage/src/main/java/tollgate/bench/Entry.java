package tollgate.bench;

import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.nio.charset.StandardCharsets;

/** The output of every peer: a JSON record for each accepted event, with the sums so far. */
public final class Entry {
  private static final JsonStringEncoder ESCAPES = JsonStringEncoder.getInstance();
  private static final int USUAL_BYTES = 256;

  private Entry() {}

  /** The bytes of an entry. Put together by hand: quicker than any generator of Jackson's. */
  public static byte[] encode(Usage usage, long sumTokens, long sumCostPico) {
    StringBuilder text = new StringBuilder(USUAL_BYTES);
    text.append("{\"customer_id\":\"");
    ESCAPES.quoteAsString(usage.customerId, text);
    text.append("\",\"source\":\"");
    ESCAPES.quoteAsString(usage.source, text);
    text.append("\",\"event_id\":\"");
    ESCAPES.quoteAsString(usage.eventId, text);
    text.append("\",\"tokens\":").append(usage.tokens);
    text.append(",\"cost_pico\":").append(usage.costPico);
    text.append(",\"sum_tokens\":").append(sumTokens);
    text.append(",\"sum_cost_pico\":").append(sumCostPico).append('}');
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }
}
