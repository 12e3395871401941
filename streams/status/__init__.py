"""The whole installation at one moment: what was seen, what it means, what to do about it.

Pure: what is asked of whom is in `streams.app.status`, how it is shown in `streams.cli`.
"""
