"""PromQL put together from metric names and selectors."""

from __future__ import annotations

from grafana.builder.names import label
from otel_tokenstream import signals

MODEL = label(signals.REQUEST_MODEL)
PROVIDER = label(signals.PROVIDER_NAME)
SERVICE = 'service_name=~"$service"'
CALLS = f'{SERVICE},{PROVIDER}=~"$provider",{MODEL}=~"$model"'
RATE = "$__rate_interval"


def quantile(share: float, *names: str, where: str = CALLS, by: str = "") -> str:
    """Return a quantile of explicit or native histograms; of several names the first with data answers."""
    le, grouped = (f"le, {by}", f" by ({by})") if by else ("le", "")
    return " or ".join(
        f"histogram_quantile({share:g}, sum by ({le}) (rate({name}_bucket{{{where}}}[{RATE}])))"
        f" or histogram_quantile({share:g}, sum{grouped} (rate({name}{{{where}}}[{RATE}])))"
        for name in names
    )


def rate(name: str, where: str = CALLS, by: str = "", over: str = RATE) -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{where}}}[{over}]))"


def increase(name: str, where: str = CALLS, by: str = "", over: str = RATE) -> str:
    return f"sum{f' by ({by})' if by else ''} (increase({name}{{{where}}}[{over}]))"


def a_minute(name: str, where: str = CALLS, by: str = "", over: str = RATE) -> str:
    """Return what comes a minute. Windows overlap, so that bars of increases would count everything several times."""
    return f"60 * {rate(name, where, by, over)}"


def now(name: str, by: str, where: str = CALLS) -> str:
    # A pushed series keeps its last value for minutes after its process has gone: never bare; and
    # metrics come every 60 s by default.
    return f"sum by ({by}) (last_over_time({name}{{{where}}}[3m]))"
