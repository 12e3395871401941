"""`tollgate topics carry-over`: what customers have left, from one installation into another of
another number of partitions (decision 039)."""
