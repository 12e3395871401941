"""A provider's cost export beside the ledger: by day and model, where they differ and why.

`mapping` says how an export's columns are to be read, `exports` reads it, `booked` sums the ledger,
`comparing` compares, `reasons` says why the two may differ. Nothing here writes.
"""
