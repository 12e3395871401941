"""Figures of speed: what Tollgate does per second of a core, beside what others do with the same.

Every figure is made on a real broker, and only after the result of the run that gave it was found
right. How a figure is made is told in docs/benchmark.md.
"""
