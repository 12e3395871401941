"""The audit: everything decided again from the log, and compared with what is there.

`replay` decides one partition again from books that it is given, and compares; `state_check` does
so for tables, `row_check` for rows, through ports. Owns no connection, writes nothing.
"""
