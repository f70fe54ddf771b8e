"""Each kind of receiver that does not take what is sent: doctor names it, and says nothing else."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.doctor.otlp_receivers import certificate_in, over_grpc, over_http

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doctor.conftest import Seen

PROTOCOL, ENDPOINT = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_ENDPOINT"
CERTIFICATE = "OTEL_EXPORTER_OTLP_CERTIFICATE"


@pytest.fixture
def sending(doctor: Callable[..., Seen], healthy: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Run doctor with this endpoint and protocol."""

    def run(endpoint: str, protocol: str = "http/protobuf", **variables: str) -> Seen:
        for name, value in {ENDPOINT: endpoint, PROTOCOL: protocol, **variables}.items():
            healthy.setenv(name, value)
        return doctor()

    return run


def told(seen: Seen, check: str = "receiver", level: str = "fault") -> tuple[str, str]:
    assert seen.complaints == [(level, check)]
    complaint = next(each for each in seen.findings if each["level"] != "ok")
    return complaint["seen"], complaint["fix"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_port_where_nothing_listens(sending: Callable[..., Seen], protocol: str) -> None:
    """On this machine the viewer can."""
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        seen, fix = told(sending(f"http://127.0.0.1:{port}", protocol))
    assert seen == f"nothing listens at http://127.0.0.1:{port} (traces, metrics, logs)"
    assert fix == f"otel-tokenstream view --{protocol[:4]}-port {port}"


def test_a_name_that_does_not_resolve(sending: Callable[..., Seen]) -> None:
    """`.invalid` never does."""
    assert "cannot be resolved" in told(sending("http://collector.invalid:4318"))[0]


def test_grpc_that_is_sent_to_an_http_port(sending: Callable[..., Seen]) -> None:
    """The exporter itself would try for most of a minute, and call it UNAVAILABLE."""
    with over_http() as (address, taken):
        seen, fix = told(sending(f"http://{address}", "grpc"))
        assert taken == []
    assert "gRPC is sent to" in seen
    assert fix == "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"


def test_http_that_is_sent_to_a_grpc_port(sending: Callable[..., Seen]) -> None:
    """The other way round."""
    with over_grpc() as (address, called):
        seen, fix = told(sending(f"http://{address}"))
        assert called == []
    assert "which speaks gRPC" in seen
    assert fix == "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc"


def test_a_grpc_receiver_takes_a_span_and_a_metric(sending: Callable[..., Seen]) -> None:
    """Through the exporters that were configured."""
    with over_grpc() as (address, called):
        assert sending(f"http://{address}", "grpc").complaints == []
    assert [method.split(".")[-2] for method in called] == ["v1", "v1"]
    assert ["trace" in called[0], "metrics" in called[1]] == [True, True]


@pytest.mark.parametrize("status", [401, 403])
def test_a_receiver_that_wants_a_header(sending: Callable[..., Seen], status: int) -> None:
    """The answer's code is told, with the variable for headers."""
    with over_http(status=status) as (address, _):
        seen, fix = told(sending(f"http://{address}"))
    assert f"answers {status}" in seen
    assert "OTEL_EXPORTER_OTLP_HEADERS" in fix


def test_a_grpc_receiver_that_wants_a_header(sending: Callable[..., Seen]) -> None:
    """Known by the test span: UNAUTHENTICATED."""
    with over_grpc(token="open") as (address, called):
        seen, fix = told(sending(f"http://{address}", "grpc"), "test signals")
        assert called == []
        assert "UNAUTHENTICATED" in seen
        assert "OTEL_EXPORTER_OTLP_HEADERS" in fix
        assert sending(f"http://{address}", "grpc", OTEL_EXPORTER_OTLP_HEADERS="authorization=open").complaints == []


def test_an_endpoint_with_the_path_of_a_signal(sending: Callable[..., Seen]) -> None:
    """The exporter adds the path once more: 404."""
    with over_http() as (address, _):
        seen, fix = told(sending(f"http://{address}/v1/traces"))
    assert "/v1/traces/v1/traces answers 404" in seen
    assert fix == f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}"


def test_a_backend_that_takes_no_metrics(sending: Callable[..., Seen]) -> None:
    """As Tempo, which takes traces only."""
    with over_http(paths=("/v1/traces", "/v1/logs")) as (address, _):
        seen, fix = told(sending(f"http://{address}"))
    assert "/v1/metrics answers 404 (metrics)" in seen
    assert "OTEL_METRICS_EXPORTER=none" in fix


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_plain_text_that_is_sent_to_a_receiver_with_tls(
    sending: Callable[..., Seen], protocol: str, tmp_path: Path
) -> None:
    """The endpoint must begin with https."""
    serving = over_http if protocol == "http/protobuf" else over_grpc
    with serving(certificate=certificate_in(tmp_path)) as (address, _):
        seen, fix = told(sending(f"http://{address}", protocol))
    assert "wants TLS" in seen
    assert fix == f"export OTEL_EXPORTER_OTLP_ENDPOINT=https://{address}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_tls_that_is_sent_to_a_plain_receiver(sending: Callable[..., Seen], protocol: str) -> None:
    """The endpoint must begin with http."""
    serving = over_http if protocol == "http/protobuf" else over_grpc
    with serving() as (address, _):
        seen, fix = told(sending(f"https://{address}", protocol))
    assert "which speaks plain text" in seen
    assert fix == f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_certificate_of_an_unknown_authority(sending: Callable[..., Seen], protocol: str, tmp_path: Path) -> None:
    """It is named with the variable, and all is well once that is set."""
    serving = over_http if protocol == "http/protobuf" else over_grpc
    certificate = certificate_in(tmp_path)
    with serving(certificate=certificate) as (address, _):
        seen, fix = told(sending(f"https://{address}", protocol))
        assert "is not trusted" in seen
        assert CERTIFICATE in fix
        assert sending(f"https://{address}", protocol, **{CERTIFICATE: str(certificate)}).complaints == []


def test_a_bundle_that_stands_before_the_certificate(
    sending: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The HTTP exporter's client prefers REQUESTS_CA_BUNDLE to the exporter's own variable."""
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_in(tmp_path / "other")))
    certificate = certificate_in(tmp_path)
    with over_http(certificate=certificate) as (address, _):
        seen, fix = told(sending(f"https://{address}", **{CERTIFICATE: str(certificate)}), "test signals")
    assert "CERTIFICATE_VERIFY_FAILED" in seen
    assert fix.startswith("unset REQUESTS_CA_BUNDLE")


@pytest.mark.parametrize(("skew", "side"), [(120.0, "ahead of"), (-3600.0, "behind")])
def test_clocks_that_differ(sending: Callable[..., Seen], skew: float, side: str) -> None:
    """By the date of the receiver's answer."""
    with over_http(skew=skew) as (address, _):
        seen, _ = told(sending(f"http://{address}"), "clock", "warning")
    assert side in seen
