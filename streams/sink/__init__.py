"""Outbound topics to ClickHouse, exactly once: how far a table is, is read from the table itself.

Owns the order of steps (`loop`), where to begin (`place`), how records become batches (`rows`)
and how tables come about (`migrations`). Owns no client: it works on `streams.ports`. Decision
008 says why it is exact."""
