"""The HTTP edge: bytes of a request to asks and facts, answers to bytes.

Owns protocols, limits and problem codes. Decides nothing about money: it asks owners and appends
to inbound topics through the ports of `streams.gateway.ports`.
"""
