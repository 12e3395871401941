"""Tollgate beside other stream processors doing the same work on the same records: not part of what
is shipped. `make bench-peers`; what a figure means is told in README.md."""
