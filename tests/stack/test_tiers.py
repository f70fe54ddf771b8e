"""Combinations of layers that people choose, run: TLS and a token on every way, two tiers, gateways that go."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tokenstream.demo.children import Children, free_port
from tests.stack.binaries import binary
from tests.stack.servers import LAYERS, Stack, wait_until

HERE = Path(__file__).parent
CAPTURE = HERE / "capture.yaml"
TOKEN = "right-token"
SENT = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def collectors():
    """Collectors without any back end: what leaves them is written to files."""
    binary("otelcol")
    with tempfile.TemporaryDirectory(prefix="tiers-") as directory, Children(Path(directory)) as children:
        yield Stack(Path(directory), children)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, a certificate of it for this machine, and the tokens' file."""
    home = tmp_path_factory.mktemp("authority")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
    (home / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "request.pem", *signed, "-out", "cert.pem")
    (home / "tokens").write_text(f"{TOKEN}\nanother\n")
    (home / "wrong").write_text("wrong-token\n")
    return home


def secure(authority, **more):
    return {
        "OTELCOL_TLS_CERT": f"{authority}/cert.pem",
        "OTELCOL_TLS_KEY": f"{authority}/key.pem",
        "OTELCOL_TOKEN_FILE": f"{authority}/tokens",
        "OTELCOL_TLS_CA": f"{authority}/ca.pem",
        **more,
    }


def layers(*names):
    return [name if isinstance(name, Path) else LAYERS / f"{name}.yaml" for name in names]


def spans(number):
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "tiers"
    scope, now = resource.scope_spans.add(), time.time_ns()
    for _ in range(number):
        scope.spans.add(
            trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=now, end_time_unix_nano=now
        ).status.code = 2
    return message


def metrics():
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="tiers")
    metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_int=1)
    return message


def logs():
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time.time_ns()).body.string_value = "x"
    return message


def post(collector, kind, message, authority=None, **headers):
    url = collector.http.replace("http:", "https:") if authority else collector.http
    return requests.post(
        f"{url}/v1/{kind}",
        data=message.SerializeToString(),
        headers={**SENT, **headers},
        verify=f"{authority}/ca.pem" if authority else True,
        timeout=20,
    ).status_code


def ids(message):
    return {s.span_id.hex() for r in message.resource_spans for scope in r.scope_spans for s in scope.spans}


def captured(*collectors):
    found = []
    for collector in collectors:
        path = collector.out / "traces.json"
        # The last line may still be being written.
        for line in path.read_text().split("\n")[:-1] if path.exists() else ():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    found += [span["spanId"] for span in scope["spans"]]
    return found


def gateways(collectors, name, *names, count=2, environment=None):
    return [
        collectors.collector(f"{name}-{number}", *layers("base", CAPTURE, *names), environment=environment)
        for number in range(count)
    ]


def addresses(*collectors):
    return json.dumps([each.grpc for each in collectors])


def test_two_tiers_with_tls_and_a_token_on_every_way(collectors, authority):
    """First tier and gateways both with secure.yaml: traces, metrics and logs arrive, all of them."""
    behind = gateways(collectors, "secure-gateway", "sampling", "redaction", "secure", environment=secure(authority))
    first = collectors.collector(
        "secure-first",
        *layers("base", CAPTURE, "balancing", "redaction", "secure"),
        environment=secure(authority, OTELCOL_GATEWAYS=addresses(*behind)),
    )
    message = spans(60)
    assert post(first, "traces", message, authority) == 200
    assert post(first, "metrics", metrics(), authority) == 200
    assert post(first, "logs", logs(), authority) == 200
    wait_until(lambda: ids(message) <= set(captured(*behind)), 60, what="every span behind the gateways")
    assert all(captured(each) for each in behind)
    for name in ("metrics", "logs"):
        wait_until((first.out / f"{name}.json").read_text, 20, what=name)


def test_a_gateway_takes_nothing_without_the_token(collectors, authority):
    """A first tier with another token delivers nothing: gRPC's Unauthenticated is for good, counted and dropped."""
    (gateway,) = gateways(collectors, "strict-gateway", "secure", count=1, environment=secure(authority))
    environment = secure(authority, OTELCOL_GATEWAYS=addresses(gateway), OTELCOL_TOKEN_FILE=f"{authority}/wrong")
    first = collectors.collector(
        "wrong-first", *layers("base", CAPTURE, "balancing", "secure"), environment=environment
    )
    message = spans(5)
    assert post(first, "traces", message, authority, Authorization="Bearer wrong-token") == 200
    time.sleep(5)
    assert not captured(gateway)


def test_two_tiers_on_a_network_of_one_s_own(collectors):
    """The header's other command: no TLS, no token."""
    behind = gateways(collectors, "plain-gateway", "sampling")
    environment = {"OTELCOL_GATEWAYS": addresses(*behind), "OTELCOL_GATEWAYS_INSECURE": "true"}
    first = collectors.collector("plain-first", *layers("base", CAPTURE, "balancing"), environment=environment)
    message = spans(60)
    assert post(first, "traces", message) == 200
    wait_until(lambda: ids(message) <= set(captured(*behind)), 60, what="every span behind the gateways")


def test_data_for_an_unavailable_gateway_waits_on_disk(collectors):
    """Both gateways away, the first tier killed and started again: nothing is lost."""
    ports = [free_port(), free_port()]
    environment = {
        "OTELCOL_GATEWAYS": json.dumps([f"127.0.0.1:{port}" for port in ports]),
        "OTELCOL_GATEWAYS_INSECURE": "true",
    }
    chosen = layers("base", CAPTURE, "balancing")
    first = collectors.collector("waiting-first", *chosen, environment=environment)
    message = spans(40)
    assert post(first, "traces", message) == 200
    time.sleep(3)
    first.process.kill()
    first.process.wait()
    storage = {"OTELCOL_STORAGE": str(collectors.directory / "waiting-first-queue")}
    collectors.collector("revived-first", *chosen, environment={**environment, **storage})
    behind = [
        collectors.collector(
            f"late-gateway-{port}", *layers("base", CAPTURE), environment={"OTELCOL_GRPC_PORT": str(port)}
        )
        for port in ports
    ]
    wait_until(lambda: ids(message) <= set(captured(*behind)), 90, what="every span that waited")


@pytest.mark.parametrize(
    "chosen",
    [
        ("redaction", "secure"),
        ("sampling", "redaction", "secure"),
        ("sampling", "langfuse", "secure", "extras"),
        ("openinference", "redaction", "secure"),
    ],
    ids="-".join,
)
def test_one_collector_with_tls_and_a_token(collectors, authority, chosen):
    """What one would choose in production: what is sent with both arrives, without the token it is refused."""
    collector = collectors.collector(
        "one-" + "-".join(chosen), *layers("base", CAPTURE, *chosen), environment=secure(authority)
    )
    message = spans(10)
    assert post(collector, "traces", message, authority, Authorization="Bearer wrong") == 401
    assert post(collector, "traces", message, authority) == 200
    wait_until(lambda: ids(message) <= set(captured(collector)), 60, what="every span")


@pytest.mark.parametrize(
    "chosen", [(), ("sampling", "redaction"), ("redaction", "secure")], ids=lambda names: "-".join(names) or "alone"
)
def test_a_vendor_s_endpoint_that_is_a_secured_collector(collectors, authority, chosen):
    """vendor.yaml with its authorization, to another Collector with TLS and a token."""
    far = collectors.collector(
        "far-" + "-".join(chosen), *layers("base", CAPTURE, "secure"), environment=secure(authority)
    )
    near = collectors.collector(
        "near-" + "-".join(chosen),
        *layers("base", "vendor", *chosen),
        environment=secure(
            authority,
            OTLP_VENDOR_ENDPOINT=far.http.replace("http:", "https:"),
            OTLP_VENDOR_AUTHORIZATION=f"Bearer {TOKEN}",
            SSL_CERT_FILE=f"{authority}/ca.pem",
        ),
    )
    message = spans(10)
    assert post(near, "traces", message, authority if "secure" in chosen else None) == 200
    wait_until(lambda: ids(message) <= set(captured(far)), 60, what="every span at the far end")
