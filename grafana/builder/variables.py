"""Variables that the dashboards share, so that links between them keep what was chosen."""

from __future__ import annotations

from grafana.builder.names import objectives
from grafana.builder.panels import choice, labelled, typed
from grafana.builder.promql import MODEL, PROVIDER
from grafana.builder.queries import STREAMS
from otel_tokenstream import signals

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
OBJECTIVES = (
    choice("first_token_slo", "First token within (s)", objectives(signals.TIME_TO_FIRST_TOKEN), "2.5"),
    choice("wait_slo", "Longest wait within (s)", objectives(signals.WAIT_MAX), "2.5"),
    choice("slo_target", "Objective", ("90 % : 0.9", "95 % : 0.95", "99 % : 0.99", "99.9 % : 0.999"), "0.95"),
)
TRACE = typed("trace", "Trace id")
STEP = choice("step", "Step", ("100ms", "250ms", "1s"), "100ms")
