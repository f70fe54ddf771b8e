"""Whether what is recorded arrives: the receiver's answer, a test span and metric, the clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.doctor.surroundings import Surroundings

_MOST_SKEW = 5.0  # seconds; a Date header has whole ones
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# What ``receiver.ask`` calls wrong, in words; {to} is the address, {status} the answer's code.
WORDS = {
    "address": "{to} is no address that can be sent to",
    "name": "the name of {to} cannot be resolved",
    "refused": "nothing listens at {to}",
    "silent": "{to} takes connections but does not answer, or a firewall drops them",
    "unreachable": "{to} cannot be reached",
    "grpc to http": "gRPC is sent to {to}, which speaks HTTP: the exporter would try in vain for a minute",
    "http to grpc": "HTTP is sent to {to}, which speaks gRPC",
    "tls": "{to} wants TLS, and plain text is sent",
    "plain": "TLS is sent to {to}, which speaks plain text",
    "untrusted": "the certificate of {to} is not trusted",
    "no grpc": "{to} does not speak gRPC",
    "no http": "{to} does not answer like an HTTP server",
    "status": "{to} answers {status}",
}


def _headers(around: Surroundings) -> Iterator[Finding]:
    names = [name for name in around.environ if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS")]
    wrong = [name for name in names for part in around.environ[name].split(",") if part.strip() and "=" not in part]
    for name in dict.fromkeys(wrong):
        yield fault(f"{name} has a part without '=', which is not sent", f'export {name}="name=value,name=value"')
    if not wrong:
        keys = sorted({part.partition("=")[0].strip() for name in names for part in around.environ[name].split(",")})
        yield ok(f"sent with each request: {', '.join(filter(None, keys)) or 'none of its own'}")


def _receivers(around: Surroundings) -> Iterator[Finding]:
    start = around.start
    if start is None or start.problem:
        return
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for each in start.receivers:
        fix = _fix(each, around) if each["wrong"] else ""
        groups.setdefault((each["wrong"], str(each["status"]), each["seen"], fix), []).append(each)
    for (wrong, *_, fix), alike in groups.items():
        signals = ", ".join(each["signal"] for each in alike)
        if wrong:
            yield fault(f"{_said(alike[0])} ({signals})", fix)
        else:
            yield ok(f"{alike[0]['seen']} answers ({signals})")


def _said(answer: Mapping[str, Any]) -> str:
    path = urlsplit(answer["url"]).path if answer["status"] in (404, 405) else ""
    return WORDS[answer["wrong"]].format(to=answer["seen"] + path, status=answer["status"])


def _fix(answer: Mapping[str, Any], around: Surroundings) -> str:
    parts = urlsplit(answer["url"])
    host = parts.netloc.rpartition("@")[2]
    own = f"OTEL_EXPORTER_OTLP_{answer['signal'].upper()}_"
    variable = f"{own}ENDPOINT" if around.variable(f"{own}ENDPOINT") else "OTEL_EXPORTER_OTLP_ENDPOINT"
    path = parts.path if variable.startswith(own) else ""
    match answer["wrong"]:
        case "refused" if parts.hostname in _LOOPBACK:
            option = "--grpc-port" if answer["is_grpc"] else "--http-port"
            return f"otel-tokenstream view{'' if _default_port(answer) else f' {option} {parts.port}'}"
        case "grpc to http":
            return "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        case "http to grpc":
            return "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        case "tls":
            return f"export {variable}=https://{host}{path}"
        case "plain":
            return f"export {variable}=http://{host}{path}"
        case "untrusted":
            return "export OTEL_EXPORTER_OTLP_CERTIFICATE=/path/to/the/authority.pem"
        case "status":
            return _fix_of_status(answer, host, variable)
    return f"export {variable}=http://your-collector:{4317 if answer['is_grpc'] else 4318}"


def _default_port(answer: Mapping[str, Any]) -> bool:
    port: int | None = urlsplit(answer["url"]).port
    return port == (4317 if answer["is_grpc"] else 4318)


def _fix_of_status(answer: Mapping[str, Any], host: str, variable: str) -> str:
    scheme, signal = urlsplit(answer["url"]).scheme, answer["signal"]
    match answer["status"]:
        case 401 | 403:
            return 'export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20YOUR-TOKEN"'
        case 404 if urlsplit(answer["url"]).path == f"/v1/{signal}":
            return f"export OTEL_{signal.upper()}_EXPORTER=none, or send to a Collector, which takes every signal"
        case 404 | 405:
            path = f"/v1/{signal}" if signal.upper() in variable else ""
            return f"export {variable}={scheme}://{host}{path}"
    return f"look at the log of what listens at {host}"


def _sent(around: Surroundings) -> Iterator[Finding]:
    start = around.start
    if start is None or start.problem:
        return
    arrived = [each for each in start.sent if each["is_sent"]]
    if arrived:
        names = {"traces": "span", "metrics": "metric"}
        what = " and a ".join(dict.fromkeys(names[each["signal"]] for each in arrived))
        yield ok(f"a {what} were taken" if len(arrived) > 1 else f"a {what} was taken")
    refused = [each for each in start.sent if not each["is_sent"]]
    # The SDK logs alike failures of several signals once.
    reasons = {each["to"]: each["said"] for each in refused if each["said"]}
    alike: dict[tuple[str, str], list[str]] = {}
    for each in refused:
        reason = each["said"] or reasons.get(each["to"], "")
        alike.setdefault((each["to"], _why(reason, around)), []).append(each["signal"])
    for (to, fix), signals in alike.items():
        reason = reasons.get(to, "no reason given")
        yield fault(f"{to} does not take a test of {' and '.join(signals)}: {reason}", fix)


def _why(said: str, around: Surroundings) -> str:
    bundles = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if around.variable(name)]
    if bundles and "CERTIFICATE_VERIFY_FAILED" in said:
        return f"unset {' '.join(bundles)}, which the HTTP exporter prefers to OTEL_EXPORTER_OTLP_CERTIFICATE"
    if any(word in said for word in ("UNAUTHENTICATED", "PERMISSION_DENIED")):
        return 'export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20YOUR-TOKEN"'
    if "UNIMPLEMENTED" in said:
        return "switch the exporter of that signal off, or send to a Collector, which takes every signal"
    return "look at the receiver's log"


def _clock(around: Surroundings) -> Iterator[Finding]:
    start = around.start
    receivers = [] if start is None else start.receivers
    skews: Sequence[float] = [each["skew"] for each in receivers if each["skew"] is not None]
    if not skews:
        return
    skew = max(skews, key=abs)
    if abs(skew) > _MOST_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        yield warning(
            f"the receiver's clock is {abs(skew):.0f} s {side} this one: spans of two machines do not fit together",
            "timedatectl set-ntp true",
        )
    else:
        yield ok("the receiver's clock agrees with this one")


CHECKS = (
    Check("headers", "header variables that cannot be read; their values are never printed", _headers),
    Check(
        "receiver",
        "port reachable, protocol and TLS on both sides the same, and its answer (401, 404, ...)",
        _receivers,
        "auto",
    ),
    Check("test signals", "a span and a metric through the exporters that the SDK was configured with", _sent, "auto"),
    Check("clock", "the receiver's clock against this one (OTLP/HTTP)", _clock, "auto"),
)
