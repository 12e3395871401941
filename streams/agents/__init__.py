"""The Faust side of the core: what a partition does with its records. No rule and no arithmetic
here."""
