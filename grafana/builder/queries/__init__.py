"""Every query of the dashboards, by page and name. Metric and label names come from the signals.

``$service``, ``$provider`` and ``$model`` are variables of the dashboards; ``$__rate_interval`` and
``$__range`` are Grafana's.
"""

from __future__ import annotations

from grafana.builder.queries.compare import COMPARE
from grafana.builder.queries.health import HEALTH
from grafana.builder.queries.overview import OVERVIEW
from grafana.builder.queries.service import SERVICE_PAGE
from grafana.builder.queries.terms import Query
from grafana.builder.queries.traces import STREAM, TRACES

PAGES = {
    "overview": OVERVIEW,
    "service": SERVICE_PAGE,
    "traces": TRACES,
    "stream": STREAM,
    "compare": COMPARE,
    "health": HEALTH,
}

__all__ = ["COMPARE", "HEALTH", "OVERVIEW", "PAGES", "SERVICE_PAGE", "STREAM", "TRACES", "Query"]
