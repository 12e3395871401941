"""The pure core: what a record means for a customer's money. No clock, no I/O, no randomness, no
floats.

Start reading at `pipeline`.
"""
