package tollgate.bench;

/**
 * What a peer and whoever started it tell each other: settings by environment, moments by lines on
 * stdout.
 */
public final class Peer {
  private static volatile boolean working;

  private Peer() {}

  /**
   * The setting of this name. IllegalStateException without it, since a default would hide a
   * mistake.
   */
  public static String setting(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException("no " + name + " in the environment: use bench.peers");
    }
    return value;
  }

  /** Says that all partitions are held, from where on the run counts. */
  public static void ready() {
    say("READY");
  }

  /** Says once that a record has arrived: a peer may begin before all of it is ready. */
  public static void recordArrived() {
    if (!working) {
      working = true;
      say("FIRST");
    }
  }

  private static synchronized void say(String word) {
    System.out.println(word + " " + System.currentTimeMillis());
    System.out.flush();
  }
}
