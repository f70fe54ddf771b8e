"""Compare: one model, provider, version or output field against another."""

from __future__ import annotations

from typing import Any

from grafana.builder.looks import by_name, by_regex
from grafana.builder.panels import UIDS, Panel, Row, dashboard, thresholds
from grafana.builder.promql import MODEL, PROVIDER
from grafana.builder.queries import COMPARE
from grafana.builder.queries.terms import FIELD, FIELD_FIRST, FIRST_TOKEN
from grafana.builder.variables import EVERY, SERVICE, choice, labelled

_VALUES = f'label_values({{__name__=~"{FIRST_TOKEN}_count|{FIELD_FIRST}_count",service_name=~"$service"}}, $by)'
VARIABLES = (
    SERVICE,
    choice(
        "by",
        "Compare by",
        (f"Model : {MODEL}", f"Provider : {PROVIDER}", "Version : service_version", f"Output field : {FIELD}"),
        MODEL,
    ),
    labelled("a", "A", _VALUES, multi=False),
    # From the other end, so that A and B differ before anybody has chosen.
    labelled("b", "B", _VALUES, multi=False, last_first=True),
    choice("least", "Streams needed on each side", ("10", "30", "100", "1000"), "30"),
    EVERY,
)


# One colour for a side, whatever stands before it; p50 is the thinner line.
SIDES = (
    by_regex("/^A: /", color={"mode": "fixed", "fixedColor": "blue"}),
    by_regex("/^B: /", color={"mode": "fixed", "fixedColor": "orange"}),
    by_regex("/ p50$/", custom_lineWidth=1, custom_lineStyle={"fill": "dash", "dash": [4, 4]}),
)
_BARS = (
    by_name("Value #A", displayName="A: $a", color={"mode": "fixed", "fixedColor": "blue"}),
    by_name("Value #B", displayName="B: $b", color={"mode": "fixed", "fixedColor": "orange"}),
)


ROWS = (
    Row(
        "Is there enough to compare?",
        (
            Panel(
                "Streams on each side",
                COMPARE["samples"],
                "Below the number chosen above, ratios stay empty: they would be chance.",
                "stat",
                width=12,
                height=5,
                look={**thresholds((None, "red"), (30, "green")), "decimals": 0},
                options={"graphMode": "none"},
            ),
            Panel(
                "A over B: first token p95, output rate",
                COMPARE["ratios"],
                "Over the chosen time. For first tokens less than 1 favours A, for the rate more than 1.",
                "stat",
                width=12,
                height=5,
                options={"graphMode": "none"},
            ),
        ),
    ),
    Row(
        "First token",
        (
            Panel(
                "First token p50 and p95", COMPARE["first_token"], "Both sides.", unit="s", width=12, overrides=SIDES
            ),
            Panel("First token p95, A over B", COMPARE["first_token_ratio"], "Above 1, A is slower.", width=12),
            Panel(
                "Streams with their first token by then",
                COMPARE["distribution"],
                "Cumulative share by bucket in seconds, over the chosen time.",
                "barchart",
                "percentunit",
                width=24,
                height=7,
                look={"min": 0, "max": 1},
                options={"xField": "le", "showValue": "never"},
                overrides=_BARS,
                transformations=(
                    {"id": "joinByField", "options": {"byField": "le", "mode": "outer"}},
                    {"id": "organize", "options": {"excludeByName": {"Time 1": True, "Time 2": True}}},
                    {
                        "id": "convertFieldType",
                        "options": {"conversions": [{"targetField": "le", "destinationType": "number"}]},
                    },
                    {"id": "sortBy", "options": {"sort": [{"field": "le"}]}},
                    {
                        "id": "convertFieldType",
                        "options": {"conversions": [{"targetField": "le", "destinationType": "string"}]},
                    },
                ),
            ),
        ),
    ),
    Row(
        "The rest of the stream",
        (
            Panel("Longest wait p95", COMPARE["wait"], "Blocked on the provider.", unit="s", width=6, overrides=SIDES),
            Panel("Output rate, median", COMPARE["output_rate"], "Reported tokens a second.", width=6, overrides=SIDES),
            Panel("Failed", COMPARE["failed"], "Share of streams.", unit="percentunit", width=6, overrides=SIDES),
            Panel("Stalls a stream", COMPARE["stalls"], "Stalls over streams.", width=6, overrides=SIDES),
        ),
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["compare"], "Compare", "A against B by model, provider, version or output field.", VARIABLES, ROWS
    )
