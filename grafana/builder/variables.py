"""Variables that the dashboards share, so that links between them keep what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grafana.builder.panels import datasource
from grafana.builder.promql import MODEL, PROVIDER
from grafana.builder.queries.terms import STREAMS

if TYPE_CHECKING:
    from collections.abc import Sequence


def labelled(name: str, title: str, query: str, *, multi: bool = True, last_first: bool = False) -> dict[str, Any]:
    """Return a variable of label values; ``multi`` allows several and all, otherwise the first one is chosen."""
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": datasource("prometheus"),
        "definition": query,
        "query": {"query": query, "refId": "A"},
        "refresh": 2,
        "sort": 2 if last_first else 1,
        "multi": multi,
        "includeAll": multi,
        **({"allValue": ".+", "current": {"text": "All", "value": "$__all"}} if multi else {}),
    }


def choice(name: str, title: str, options: Sequence[str], chosen: str) -> dict[str, Any]:
    """Return a variable of fixed values, each either ``value`` or ``text : value``."""
    pairs = [tuple(option.split(" : ")) if " : " in option else (option, option) for option in options]
    return {
        "name": name,
        "label": title,
        "type": "custom",
        "query": ",".join(options),
        "options": [{"text": text, "value": value, "selected": value == chosen} for text, value in pairs],
        "current": next({"text": text, "value": value} for text, value in pairs if value == chosen),
        "multi": False,
        "includeAll": False,
    }


def typed(name: str, title: str, value: str = "") -> dict[str, Any]:
    """Return a variable to type in."""
    return {"name": name, "label": title, "type": "textbox", "query": value, "current": {"text": value, "value": value}}


SERVICE = labelled("service", "Service", f"label_values({STREAMS}, service_name)")
CALLS = (
    SERVICE,
    labelled("provider", "Provider", f'label_values({STREAMS}{{service_name=~"$service"}}, {PROVIDER})'),
    labelled(
        "model",
        "Model",
        f'label_values({STREAMS}{{service_name=~"$service",{PROVIDER}=~"$provider"}}, {MODEL})',
    ),
)
# The shortest window of a rate is four of these; a longer one than the true interval only draws coarser lines.
EVERY = choice("every", "Metrics come every", ("15s", "30s", "60s", "120s"), "60s")
TRACE = typed("trace", "Trace id")
STEP = choice("step", "Step", ("100ms", "250ms", "1s"), "100ms")
