"""Spans, events, log records and metrics, and the observers of running calls."""
