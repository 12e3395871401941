"""Invoices: from a customer's entries and rate card to the bytes of a document.

Owns the arithmetic of invoices: what a line is, how it is rounded, what a correction is. Owns no
query and no record of the log: entries, closes and rate cards are the plain JSON of their records.
Imports the standard library, `schemas.money` and `schemas.limits` alone, because this package
travels inside a bill, where it is the verifier.

`tallies` sums entries, `pricing` makes lines of sums, `late` the corrections of earlier periods,
`documents` the document, `bundle` the way from what a document follows from to its bytes.
`calendar` and `timeline` say where a period lies and which card is in force; what they said is
pinned in the close and never asked again.
"""
