"""Metrics of streams that never ran, as OpenMetrics with times of the past, for Prometheus to be filled with.

Services, instances and models as asked; every sample is what the instrumentation would have exported.
"""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field

from grafana.builder.names import label, metric
from otel_tokenstream import signals

_TIMES = {
    signals.TIME_TO_FIRST_TOKEN: 0.4,
    signals.TIME_TO_FIRST_ANSWER_TOKEN: 0.5,
    signals.OPERATION_TIME_TO_FIRST_CHUNK: 0.38,
    signals.OPERATION_DURATION: 6,
    signals.OPERATION_TIME_PER_OUTPUT_CHUNK: 0.03,
    signals.TIME_PER_OUTPUT_TOKEN: 0.02,
    signals.WAIT_MAX: 0.15,
    signals.GAP_MAX: 0.2,
    signals.OUTPUT_RATE_METRIC: 50,
    signals.TOKEN_USAGE: 400,
}


@dataclass
class History:
    """Samples between two times, in seconds since the epoch, every ``interval`` seconds."""

    start: float
    end: float
    services: int = 2
    instances: int = 3
    models: int = 11
    interval: int = 60
    streams_a_minute: float = 6
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def write(self, to):
        """Write the text, family by family, as OpenMetrics wants it."""
        times = [self.start + step * self.interval for step in range(int((self.end - self.start) / self.interval))]
        families = {}
        for service in range(self.services):
            for instance in range(self.instances):
                for model in range(self.models):
                    self._one(families, times, service, instance, model)
        for (name, kind), found in families.items():
            to.write(f"# TYPE {name} {kind}\n")
            for series, samples in found.items():
                to.writelines(f"{series} {value:.10g} {at:.0f}\n" for value, at in samples)
        to.write("# EOF\n")

    def _one(self, families, times, service, instance, model):
        labels = {
            "service_name": f"service-{service}",
            "service_instance_id": f"instance-{service}-{instance}",
            "service_version": "1.0",
            label(signals.OPERATION_NAME): "chat",
            label(signals.PROVIDER_NAME): "openai" if model % 2 else "anthropic",
            label(signals.REQUEST_MODEL): f"model-{model}",
        }
        gauges = {signals.STREAM_ACTIVE: ({}, 2), signals.STREAM_STALLED: ({label(signals.PHASE): "tokens"}, 0)}
        for name, (more, value) in gauges.items():
            key = f"{metric(name)}{_written({**labels, **more})}"
            families.setdefault((metric(name), "gauge"), {})[key] = [(value, at) for at in times]
        ended = [self.chance.gauss(self.streams_a_minute, 1) * self.interval / 60 for _ in times]
        for outcome, share in (("completed", 0.98), ("failed", 0.01), ("cancelled", 0.01)):
            more = {label(signals.OUTCOME): outcome, label(signals.FIRST_TOKEN_SEEN): "true"}
            self._counter(families, signals.STREAMS, {**labels, **more}, times, [each * share for each in ended])
        for kind in ("input", "output"):
            more = {**labels, label(signals.TOKEN_TYPE): kind}
            self._counter(families, signals.TOKENS, more, times, [each * 300 for each in ended])
        self._counter(families, signals.COST, labels, times, [each * 0.002 for each in ended])
        for name, typical in _TIMES.items():
            self._histogram(families, name, labels, times, ended, typical * (1 + model / 10))

    def _counter(self, families, name, labels, times, added):
        total, samples = 0.0, []
        for at, more in zip(times, added, strict=True):
            total += more
            samples.append((total, at))
        family = metric(name).removesuffix("_total")
        families.setdefault((family, "counter"), {})[f"{family}_total{_written(labels)}"] = samples

    def _histogram(self, families, name, labels, times, ended, typical):
        bounds = [*signals.METRICS[name].buckets, float("inf")]
        drawn = sorted(typical * self.chance.lognormvariate(0, 0.6) for _ in range(200))
        below = [bisect.bisect_right(drawn, bound) / 200 for bound in bounds]
        family = families.setdefault((metric(name), "histogram"), {})
        totals, total = [], 0.0
        for each in ended:
            total += each
            totals.append(total)
        for bound, share in zip(bounds, below, strict=True):
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            key = f"{metric(name)}_bucket{_written({**labels, 'le': le})}"
            family[key] = [(share * each, at) for each, at in zip(totals, times, strict=True)]
        family[f"{metric(name)}_count{_written(labels)}"] = list(zip(totals, times, strict=True))
        sums = [each * typical for each in totals]
        family[f"{metric(name)}_sum{_written(labels)}"] = list(zip(sums, times, strict=True))


def _written(labels):
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
