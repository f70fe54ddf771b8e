"""What metric readers of the SDK were given, in a form that two runs can be compared in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    Parts = dict[str, Any]


def data_points(readers: Iterable[InMemoryMetricReader], kept: Callable[[Parts], Parts]) -> list[Any]:
    """Return every data point of all readers without its times, its parts as ``kept`` leaves them."""
    found = []
    for reader in readers:
        data = reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = metric.data.data_points
                    found += [(metric.name, *sorted(kept(_parts(point)).items())) for point in points]
    return found


def _parts(point: Any) -> Parts:
    parts = {name: getattr(point, name) for name in point.__dataclass_fields__ if "time" not in name}
    parts["attributes"] = dict(parts["attributes"])
    exemplars = parts.get("exemplars", ())
    return {**parts, "exemplars": [(each.value, each.span_id, each.filtered_attributes) for each in exemplars]}


def sampled_context() -> Context:
    """Return a context with a sampled span."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("call")
    return trace.set_span_in_context(span)
