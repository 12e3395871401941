"""Invoices: what is to be closed (`plans`), the facts that say so (`facts`), the documents that
follow (`documents`, `drafts`), the run that closes and issues (`closing`), and the proof
(`verifying`).
"""
