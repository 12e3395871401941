package tollgate.bench;

import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** One record of one customer: known already, or a claim, two sums and an entry. */
public final class BillingFunction extends KeyedProcessFunction<String, Usage, byte[][]> {
  private transient MapState<String, Boolean> seen;
  private transient ValueState<Long> tokens;
  private transient ValueState<Long> costPico;

  @Override
  public void open(OpenContext context) {
    RuntimeContext state = getRuntimeContext();
    seen = state.getMapState(new MapStateDescriptor<>("seen", Types.STRING, Types.BOOLEAN));
    tokens = state.getState(new ValueStateDescriptor<>("tokens", Types.LONG));
    costPico = state.getState(new ValueStateDescriptor<>("cost", Types.LONG));
  }

  @Override
  public void processElement(Usage usage, Context context, Collector<byte[][]> out)
      throws Exception {
    // The state is the customer's own, so source and event id identify the record within it.
    String identity = usage.identity();
    if (seen.contains(identity)) {
      return;
    }
    seen.put(identity, Boolean.TRUE);
    long sumTokens = usage.tokens + orZero(tokens.value());
    long sumCostPico = Math.addExact(usage.costPico, orZero(costPico.value()));
    tokens.update(sumTokens);
    costPico.update(sumCostPico);
    byte[] key = usage.customerId.getBytes(StandardCharsets.UTF_8);
    out.collect(new byte[][] {key, Entry.encode(usage, sumTokens, sumCostPico)});
  }

  private static long orZero(Long sum) {
    return sum == null ? 0 : sum;
  }
}
