"""Bytes and streams below the APIs: server-sent events, AWS event streams, JSON in pieces."""
