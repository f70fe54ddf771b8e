"""Writes the dashboards and the Grafana-managed alerts: ``python -m grafana.builder``."""
