"""What a person looks at: draft invoices, budgets and dead letters, as queries over ClickHouse.

Owns the questions and their as-of. Owns no arithmetic of its own: `streams.domain.drafts` is
the reference that the invoice's SQL is compared with. Reads through `ports.Warehouse`, never with
FINAL."""
