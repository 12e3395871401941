"""Tollgate's own code: the domain, its edges, and the commands; see docs/architecture.md."""
