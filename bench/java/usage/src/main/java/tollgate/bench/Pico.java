package tollgate.bench;

/** Amounts as integers of pico-dollars (10^-12), as in the ledger: never a binary fraction. */
final class Pico {
  private static final int DECIMALS = 12;
  private static final long ONE = 1_000_000_000_000L;

  private Pico() {}

  /**
   * The amount that a decimal text without sign states. ArithmeticException above 9.2 million
   * dollars.
   */
  static long parse(String text) {
    int point = text.indexOf('.');
    if (point < 0) {
      return Math.multiplyExact(Long.parseLong(text), ONE);
    }
    long fraction = Long.parseLong(text, point + 1, text.length(), 10);
    for (int digits = text.length() - point - 1; digits < DECIMALS; digits++) {
      fraction *= 10;
    }
    return Math.addExact(Math.multiplyExact(Long.parseLong(text, 0, point, 10), ONE), fraction);
  }
}
