"""OTLP traces: spans of AI calls and of outcomes, from any OpenTelemetry exporter, as usage and
signals in the log."""

from streams.gateway.otlp.endpoint import ROUTES

__all__ = ["ROUTES"]
