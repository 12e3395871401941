"""The one-machine default: a real Kafka and a real ClickHouse, run as children of one supervisor.

Owns: starting, watching and stopping them, their files under one home directory, and finding out
what a machine lacks. Owns no topic, no table and no rule of billing. Everything that listens does
so on loopback.
"""
