"""What people and other programs hold in their hands of an invoice: texts made of a document.

Pure functions: a document of `streams.domain.invoices` in, text or bytes out. They read the
document's canonical JSON and so depend on the names in it alone. Nothing here asks a clock, a
database or the network, and nothing that is added while rendering (names, addresses) goes back into
the document or its digest (F4). Commands and the gateway may both use it.
"""
