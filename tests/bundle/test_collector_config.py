"""The Collector's layers as files. Whether the Collector takes them, the stack's tests ask itself."""

from __future__ import annotations

import re
from itertools import chain

import pytest
import yaml

from otel_tokenstream import signals
from tests.bundle.bundle import LAYERS, ROOT

PIPELINES = [
    pytest.param(name, pipeline, id=f"{layer}-{name}")
    for layer, config in LAYERS.items()
    for name, pipeline in config.get("service", {}).get("pipelines", {}).items()
]
EACH_PIPELINE = pytest.mark.parametrize(("name", "pipeline"), PIPELINES)
OLD_NAMES = {"otlp", "otlphttp", "loadbalancing", "prometheusremotewrite", "logging", "spanmetrics"}


@EACH_PIPELINE
def test_the_memory_limiter_comes_first(name, pipeline):
    """What is behind another processor has already been let in. The Collector's own metrics pass it by."""
    if name != "metrics/self" and "processors" in pipeline:
        assert pipeline["processors"][0] == "memory_limiter"


@EACH_PIPELINE
def test_metrics_are_never_sampled(name, pipeline):
    """Rates and objectives count every stream."""
    if not name.startswith("traces"):
        assert "tail_sampling" not in pipeline.get("processors", ())


@pytest.mark.parametrize("layer", LAYERS)
def test_component_names_are_current(layer):
    """Aliases go away."""
    exporters = {name.split("/")[0] for name in LAYERS[layer].get("exporters", {})}
    assert not exporters & OLD_NAMES
    assert "batch" not in LAYERS[layer].get("processors", {})


def exporters_in(layer):
    """Return a layer's exporters, those of its commented example included."""
    if layer != "extras":
        return LAYERS[layer].get("exporters", {})
    lines = (ROOT / "collector-config/extras.yaml").read_text().splitlines()
    example = "\n".join(line[2:] for line in lines[lines.index("# exporters:") :] if line.startswith("#"))
    return yaml.safe_load(example)["exporters"]


EXPORTERS = [
    pytest.param(exporter, id=f"{layer}-{name}")
    for layer in LAYERS
    for name, exporter in exporters_in(layer).items()
    # debug delivers to nobody; secure.yaml adds credentials to an exporter of another layer.
    if name != "debug" and layer != "secure"
]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_no_exporter_gives_up_while_its_queue_has_room(exporter):
    """The default drops a batch after 5 minutes of retries; the queue is on disk and its size in bytes is stated."""
    assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
    queue = exporter["sending_queue"]
    assert queue["storage"] == "file_storage"
    assert queue["sizer"] == "bytes"
    assert re.fullmatch(r"\$\{env:OTELCOL_QUEUE_BYTES:-1000000000\}|1000000000", str(queue["queue_size"]))


def test_the_way_to_a_gateway_keeps_nothing_in_memory():
    """What a gateway does not take goes back to the queue on disk and from there to another gateway."""
    gateway = LAYERS["balancing"]["exporters"]["load_balancing"]["protocol"]["otlp"]
    assert gateway["sending_queue"] == {"enabled": False}
    assert gateway["retry_on_failure"] == {"enabled": False}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_s_head_names_every_variable_that_it_needs(layer):
    """Commands in the head of a file run as they stand: what has no default must be named there."""
    text = (ROOT / f"collector-config/{layer}.yaml").read_text()
    head = text[: re.search(r"^[^#\n]", text, re.MULTILINE).start()]
    needed = set(re.findall(r"\$\{env:(\w+)\}", text[len(head) :]))
    assert not {name for name in needed if name not in head}


@pytest.mark.parametrize("layer", ["local", "vendor"])
def test_queues_survive_a_restart_and_batches_fit_every_limit(layer):
    """Below the 4 MiB of gRPC receivers and the 5 MB Tempo takes for one trace."""
    for exporter in LAYERS[layer]["exporters"].values():
        queue = exporter["sending_queue"]
        assert queue["storage"] == "file_storage"
        assert queue["batch"]["sizer"] == "bytes"
        assert queue["batch"]["max_size"] < 4 * 1024**2


def test_redaction_leaves_our_own_values_alone():
    """A pattern for keys that matches token would mask every number we measure."""
    patterns = [re.compile(text) for text in LAYERS["redaction"]["processors"]["redaction"]["blocked_key_patterns"]]
    ours = chain(signals.SPAN_ATTRIBUTES, signals.EVENT_ATTRIBUTES)
    assert not [name for name in ours for pattern in patterns if pattern.search(name)]


def test_sampling_keeps_the_documented_traces():
    """Every policy reads an attribute that spans carry, numeric ones an integer."""
    for policy in LAYERS["sampling"]["processors"]["tail_sampling"]["policies"]:
        rule = policy.get(policy["type"], {})
        if "key" in rule:
            attribute = signals.SPAN_ATTRIBUTES[rule["key"]]
            assert attribute.type == ("int" if policy["type"] == "numeric_attribute" else "string")


@pytest.mark.parametrize("layer", ["langfuse", "openinference"])
def test_overlays_read_attributes_that_spans_carry(layer):
    """A renamed attribute would leave a field of the other tool empty."""
    text = str(LAYERS[layer])
    read = set(re.findall(r'span\.attributes\["((?:tokenstream|gen_ai|dspy)\.[^"]+)"\]', text))
    read -= {"gen_ai.usage.cost"}  # written for Langfuse
    assert read
    assert read <= set(signals.SPAN_ATTRIBUTES)
