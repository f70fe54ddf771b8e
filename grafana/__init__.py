"""What Grafana and Prometheus load, and what writes it."""
