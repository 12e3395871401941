-- What invoices are made of beside sums of usage, a row each, in two columns (decision 040): a draft needs forty columns
-- of a few rows of every month, and to open a column of a part costs more than to read those rows.
--
-- ClickHouse makes them of the row itself, so they say what the row says. Times are microseconds, amounts are text.
-- Written as concat because that is evaluated for rows of these kinds alone; a map, and JSON of it, would be made for
-- every row of usage first.

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS billing_entry String MATERIALIZED if(
    kind IN ('terms', 'credit', 'invoice_close', 'invoice_issue', 'invoice_void'),
    concat(
        '{"schema_version":', toString(schema_version),
        ',"entry_id":', toJSONString(entry_id),
        ',"generation":', toString(generation),
        ',"partition":', toString(partition),
        ',"sequence":', toString(sequence),
        ',"cycle":', toString(cycle),
        ',"decided_at":', toString(toUnixTimestamp64Micro(decided_at)),
        ',"topic":', toJSONString(topic),
        ',"source_offset":', toString(source_offset),
        ',"entry_index":', toString(entry_index),
        ',"appended_at":', toString(toUnixTimestamp64Micro(appended_at)),
        ',"occurred_at":', toString(toUnixTimestamp64Micro(occurred_at)),
        ',"customer_id":', toJSONString(customer_id),
        ',"source":', toJSONString(source),
        ',"event_id":', toJSONString(event_id),
        ',"kind":', toJSONString(kind),
        ',"plan":', toJSONString(plan),
        ',"card":', toJSONString(card),
        ',"zone":', toJSONString(zone),
        ',"anchor_day":', toString(anchor_day),
        ',"terms_from":', toString(toUnixTimestamp64Micro(terms_from)),
        ',"next_number":', toString(next_number),
        ',"billed_to":', toString(toUnixTimestamp64Micro(billed_to)),
        ',"amount":', toJSONString(toString(amount)),
        ',"currency":', toJSONString(currency),
        ',"reason":', toJSONString(reason),
        ',"number":', toJSONString(number),
        ',"label":', toJSONString(label),
        ',"period_from":', toString(toUnixTimestamp64Micro(period_from)),
        ',"period_to":', toString(toUnixTimestamp64Micro(period_to)),
        ',"segments":', toJSONString(segments),
        ',"reissues":', toJSONString(reissues),
        ',"cut_generation":', toString(cut_generation),
        ',"cut_sequence":', toString(cut_sequence),
        ',"after_generation":', toString(after_generation),
        ',"after_sequence":', toString(after_sequence),
        ',"after_end":', toString(toUnixTimestamp64Micro(after_end)),
        ',"document":', toJSONString(document),
        ',"digest":', toJSONString(digest),
        ',"totals":', toJSONString(totals),
        ',"voids":', toJSONString(voids),
        ',"note":', toJSONString(note),
        ',"reissue":', toString(reissue),
        '}'
    ),
    ''
) COMMENT 'Kinds that are about invoices: the entry as JSON without its lines, made of the other columns for Tollgate itself; empty for others' CODEC(ZSTD(1));

-- Lines are most of a document, and asked for only where an earlier one may be corrected.
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS billing_lines String MATERIALIZED if(kind = 'invoice_issue', toJSONString(lines), '') COMMENT 'invoice_issue: its lines as JSON, made of them for Tollgate itself; empty for others' CODEC(ZSTD(1));

-- For the rows that are there already; in the background. Until then they are made of them when they are read.
ALTER TABLE ledger MATERIALIZE COLUMN billing_entry;
ALTER TABLE ledger MATERIALIZE COLUMN billing_lines;
