"""The outside world behind the ports: Kafka, RocksDB, ClickHouse, clocks.

Imported by `streams.app` alone.
"""
