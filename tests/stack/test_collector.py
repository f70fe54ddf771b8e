"""What the real Collector takes and what leaves it."""

from __future__ import annotations

import calendar
import itertools
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.stack.ask import get
from tests.stack.binaries import binary
from tests.stack.servers import LAYERS, compose_layers, wait_until

HERE = Path(__file__).parent

DESTINATIONS = (("local",), ("vendor",), ("local", "balancing"), ("vendor", "balancing"), ())
OPTIONS = ("redaction", "sampling", "secure", "extras")
NAMES = ((), ("langfuse",), ("openinference",))
COMBINATIONS = [
    ("base", *destination, *(option for option, on in zip(OPTIONS, chosen, strict=True) if on), *names)
    for destination in DESTINATIONS
    for chosen in itertools.product((False, True), repeat=len(OPTIONS))
    for names in NAMES
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What the layers ask of the environment."""
    home = tmp_path_factory.mktemp("secure")
    self_signed = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    self_signed += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", home / "key.pem", "-out", home / "cert.pem"]
    subprocess.run(self_signed, check=True, capture_output=True)
    (home / "tokens").write_text("right-token\n")
    return {
        **os.environ,
        "OTELCOL_STORAGE": str(home / "queue"),
        "OTLP_VENDOR_ENDPOINT": "http://127.0.0.1:9",
        "OTLP_VENDOR_AUTHORIZATION": "Bearer x",
        "OTELCOL_GATEWAYS": "[127.0.0.1:9, 127.0.0.1:10]",
        "OTELCOL_TLS_CERT": str(home / "cert.pem"),
        "OTELCOL_TLS_KEY": str(home / "key.pem"),
        "OTELCOL_TOKEN_FILE": str(home / "tokens"),
    }


def test_the_collector_accepts_every_combination_of_layers(environment):
    """Any destination with any options; a list that a layer forgets would show here."""
    refused = {}
    for layers in COMBINATIONS:
        command = [str(binary("otelcol")), "validate", *[f"--config={LAYERS / name}.yaml" for name in layers]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or "deprecated" in done.stderr:
            refused[layers] = done.stderr[-300:]
    assert not refused
    assert len(COMBINATIONS) == 240


@pytest.fixture(scope="module")
def sent(programs, stack):
    """Spans of every kind, as the OTLP message that a program sent."""
    program = programs("mixed", "overlays", stack.collectors["collector"].http)
    program.wait()
    return (program.truth / "traces.pb").read_bytes()


def through(stack, name, message, *layers, environment=None):
    """Return the spans that leave a Collector with these layers, by span id."""
    collector = stack.collector(
        name,
        LAYERS / "base.yaml",
        HERE / "capture.yaml",
        *(LAYERS / f"{layer}.yaml" for layer in layers),
        environment=environment,
    )
    answer = requests.post(
        f"{collector.http}/v1/traces", data=message, headers={"Content-Type": "application/x-protobuf"}, timeout=10
    )
    assert answer.status_code == 200
    wanted = len(list(spans_of(TracesData.FromString(message))))
    captured = collector.out / "traces.json"
    read = lambda: [json.loads(line) for line in captured.read_text().splitlines()]  # noqa: E731
    wait_until(lambda: sum(len(list(json_spans(each))) for each in read()) >= wanted, 20, what="the spans")
    stack.stop(name)
    return {span["spanId"]: span for each in read() for span in json_spans(each)}


def spans_of(message):
    return (span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans)


def json_spans(message):
    for resource in message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def attributes(thing):
    """Return a span's or event's attributes by name; integers come as strings in OTLP's JSON."""
    return {
        each["key"]: int(value["intValue"]) if "intValue" in value else next(iter(value.values()))
        for each in thing.get("attributes", ())
        if (value := each["value"])
    }


def generations(spans):
    return [
        span for each in spans.values() if "tokenstream.outcome" in (span := {**each, "at": attributes(each)})["at"]
    ]


def test_langfuse_finds_its_names(stack, sent):
    """Type, time of the first token, cost, level: what its pages are made of."""
    found = generations(through(stack, "langfuse", sent, "langfuse"))
    assert found
    for span in found:
        at = span["at"]
        assert at["langfuse.observation.type"] == "generation"
        assert at.get("gen_ai.usage.cost") == at.get("tokenstream.cost_usd")
        assert at.get("langfuse.session.id") == at.get("gen_ai.conversation.id")
        if "tokenstream.time_to_first_token_ms" in at:
            first = json.loads(at["langfuse.observation.completion_start_time"])
            seconds, _, fraction = first.removesuffix("Z").partition(".")
            then = calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
            assert then - int(span["startTimeUnixNano"]) / 1e9 == pytest.approx(
                at["tokenstream.time_to_first_token_ms"] / 1e3, abs=0.002
            )
        else:
            assert "langfuse.observation.completion_start_time" not in at
        failed = at["tokenstream.outcome"] == "failed"
        assert (at.get("langfuse.observation.level") == "ERROR") == failed
    assert any("gen_ai.usage.cost" in span["at"] for span in found)
    assert any("langfuse.session.id" in span["at"] for span in found)
    assert any(span["at"].get("langfuse.observation.level") == "WARNING" for span in found)


def test_phoenix_finds_the_names_of_openinference(stack, sent):
    """Kind, model, session, token counts and cost; modules of DSPy are chains."""
    spans = through(stack, "openinference", sent, "openinference")
    found = generations(spans)
    assert any("session.id" in span["at"] for span in found)
    for span in found:
        at = span["at"]
        assert at["openinference.span.kind"] == "LLM"
        assert at["llm.model_name"] == at.get("gen_ai.response.model", at["gen_ai.request.model"])
        assert at["llm.provider"] == at["gen_ai.provider.name"]
        assert at.get("session.id") == at.get("gen_ai.conversation.id")
        assert at.get("llm.token_count.prompt") == at.get("gen_ai.usage.input_tokens")
        assert at.get("llm.token_count.completion") == at.get("gen_ai.usage.output_tokens")
        if "gen_ai.usage.output_tokens" in at:
            assert at["llm.token_count.total"] == at["llm.token_count.prompt"] + at["llm.token_count.completion"]
    modules = [attributes(span) for span in spans.values() if "dspy.module" in attributes(span)]
    assert modules
    assert all(at["openinference.span.kind"] == "CHAIN" for at in modules)


def test_redaction_removes_content_and_secrets_and_nothing_else(stack, sent):
    """Prompts, answers, keys and addresses go; every measured value stays."""
    message = TracesData.FromString(sent)
    first = next(span for span in spans_of(message) if span.events)
    first.status.message = "prompt was: secret"
    for name, value in SECRETS.items():
        first.attributes.add(key=name).value.string_value = value
    first.events[0].attributes.add(key="tokenstream.text").value.string_value = "the answer"
    spans = through(stack, "redaction", message.SerializeToString(), "redaction")
    left = spans[first.span_id.hex()]
    text = json.dumps(left)
    assert not [value for value in ("secret", "the answer", *LEAKS) if value in text]
    before = {span.span_id.hex(): span for span in spans_of(TracesData.FromString(sent))}
    for number, span in spans.items():
        assert {each.key for each in before[number].attributes} <= attributes(span).keys()
        assert len(before[number].events) == len(span.get("events", ()))
        for one, other in zip(before[number].events, span.get("events", ()), strict=True):
            assert [each.value.int_value for each in one.attributes if each.value.HasField("int_value")] == [
                int(each["value"]["intValue"]) for each in other["attributes"] if "intValue" in each["value"]
            ]


SECRETS = {
    "gen_ai.input.messages": "a private prompt",
    "gen_ai.output.messages": "a private answer",
    "http.request.header.authorization": "Basic abc",
    "note": "use sk-abcdefghijklmnopqrstuvwx please",
    "user": "write to someone@example.org",
    "card": "4111 1111 1111 1111",
}
LEAKS = ("private", "Basic abc", "sk-abcdef", "someone@", "4111 1111")


def test_the_secure_layer_wants_tls_and_the_right_token(stack, environment):
    """Without a certificate's trust no connection, without the token 401, with both 200."""
    needed = {name: environment[name] for name in environment if name.startswith(("OTELCOL_T",))}
    collector = stack.collector(
        "secure", LAYERS / "base.yaml", HERE / "capture.yaml", LAYERS / "secure.yaml", environment=needed
    )
    url = collector.http.replace("http:", "https:") + "/v1/traces"

    def send(**how):
        headers = {"Content-Type": "application/x-protobuf", **how}
        return requests.post(
            url, data=b"", headers=headers, verify=environment["OTELCOL_TLS_CERT"], timeout=10
        ).status_code

    assert send() == 401
    assert send(Authorization="Bearer wrong") == 401
    assert send(Authorization="Bearer right-token") == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(url, data=b"", timeout=10)
    stack.stop("secure")


def test_the_stack_runs_with_the_layers_of_the_compose_file(stack):
    """The Collector of these tests is the Collector of docker-compose.yml."""
    assert compose_layers() == ["base.yaml", "local.yaml", "redaction.yaml", "extras.yaml"]
    assert get(stack.collectors["collector"].health).status_code == 200
