"""Each alert fires on its fault and clears: the shipped rules in Prometheus's own engine, the real Alertmanager."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_tokenstream import signals
from tests.stack import history
from tests.stack.ask import alertmanager, alerts, get
from tests.stack.binaries import binary
from tests.stack.servers import ADDRESSES, ROOT, wait_until

# Windows of 10 minutes, and alerts hold for 5 minutes more.
FIRED_WITHIN, CLEARED_WITHIN = 240, 1200


def test_promtool_accepts_rules_and_configuration(stack):
    """As files, as Prometheus reads them."""
    rules = [str(path) for path in sorted((ROOT / "grafana/alerts").glob("*.yaml")) if "grafana" not in path.name]
    for command in (
        ["check", "rules", "--lint=all", *rules],
        ["check", "config", f"{stack.directory}/prometheus/prometheus.yaml"],
    ):
        done = subprocess.run([binary("promtool"), *command], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "grafana/alerts/tests").glob("*.test.yaml")), ids=lambda path: path.stem
)
def test_rules_at_full_scale(path):
    """Hours in promtool: what fires and after how long, when it clears, what stays quiet."""
    done = subprocess.run(
        [binary("promtool"), "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stdout + done.stderr


class Second:
    """The second destination of the seam: refuses for good until told to take."""

    def __init__(self, port):
        self.answer = 400
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def faults(stack, programs):
    """All faults at once, each in a service of its own."""
    endpoint = stack.collectors["collector"].http
    second = Second(stack.port("second"))
    running = {
        "slow": programs("slow", "alert-slow", endpoint),
        "failing": programs("failing", "alert-failing", endpoint),
        "lossy": programs("healthy", "alert-lossy", endpoint, queue=4),
        "silent": programs("silent", "alert-silent", endpoint),
        "quiet": programs("slow_consumer", "quiet", endpoint),
    }
    history.output_rate(endpoint, "alert-rate", before=60, now=15)
    history.silence(endpoint, "alert-missing")
    if stack.has_tempo:
        history.large_trace(endpoint, "alert-large")
    yield running, second
    second.stop()


EXPECTED = [
    ("StreamsStalledNow", "alert-silent"),
    ("FirstTokenBudgetBurnFast", "alert-slow"),
    ("FirstTokenBudgetBurnSlow", "alert-slow"),
    ("WaitBudgetBurnFast", "alert-slow"),
    ("WaitBudgetBurnSlow", "alert-slow"),
    ("StreamErrorRatio", "alert-failing"),
    ("StreamAbandonmentRatio", "alert-failing"),
    ("StreamOutputRateFell", "alert-rate"),
    ("StreamTelemetryMissing", "alert-missing"),
    ("SpansLostInApplication", "alert-lossy"),
    ("TelemetryLostInCollector", "otlp_http/second"),
    pytest.param("SpansDiscardedByTempo", "trace_too_large", marks=pytest.mark.tempo),
]


@pytest.fixture(scope="module")
def seen(stack, faults):
    """Everything that fires while the faults last, with the time; then the faults end."""
    running, second = faults
    fired, told = {}, {}
    wanted = {tuple(each.values) if hasattr(each, "values") else each for each in EXPECTED}
    if not stack.has_tempo:
        wanted.discard(("SpansDiscardedByTempo", "trace_too_large"))

    def look():
        now = time.time()
        for which, state in alerts(stack.url("prometheus")).items():
            if state == "firing":
                fired.setdefault(which, now)
        for which in alertmanager(stack.url("alertmanager")):
            told.setdefault(which, now)
        return wanted <= fired.keys() and wanted <= told.keys()

    try:
        wait_until(look, FIRED_WITHIN, every=1, what="every alert")
    except AssertionError:
        print("not seen:", wanted - fired.keys(), wanted - told.keys())
    endpoint = stack.collectors["collector"].http
    second.answer = 200
    running["slow"].wait().go_on("rested")
    running["failing"].wait().go_on("recovered")
    running["lossy"].wait()
    running["silent"].wait()
    history.output_rate(endpoint, "alert-rate", before=60, now=60)
    history.alive(endpoint, "alert-missing")
    return fired, told


@pytest.mark.parametrize(("name", "subject"), EXPECTED)
def test_the_alert_fires_on_its_fault_and_reaches_alertmanager(seen, name, subject):
    """In Prometheus's engine, with the shipped thresholds and windows."""
    fired, told = seen
    assert (name, subject) in fired
    assert (name, subject) in told


def test_the_stall_is_seen_while_it_lasts(seen, faults):
    """90 s of silence: the alert comes before they are over."""
    fired, _ = seen
    running, _ = faults
    message = TracesData.FromString((running["silent"].truth / "traces.pb").read_bytes())
    spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
    over = min(
        (event for span in spans for event in span.events if event.name == signals.STALL_EVENT),
        key=lambda event: event.time_unix_nano,
    )
    (waited,) = [each.value.int_value for each in over.attributes if each.key == signals.AT_WAIT_US]
    after = fired["StreamsStalledNow", "alert-silent"] - over.time_unix_nano / 1e9 + waited / 1e6
    print(f"stalled for {waited / 1e6:.1f} s, alert after {after:.1f} s")
    assert 0 < after < waited / 1e6


def test_no_alert_fires_without_its_fault(seen):
    """A slow consumer of a quick provider raises nothing; who loses spans only that."""
    fired, _ = seen
    assert not [name for name, subject in fired if subject == "quiet"]
    assert [name for name, subject in fired if subject == "alert-lossy"] == ["SpansLostInApplication"]
    assert [name for name, subject in fired if subject == "alert-rate"] == ["StreamOutputRateFell"]


def test_links_of_an_alert_are_absolute_and_its_labels_its_own(seen, stack):  # noqa: ARG001 - they must have fired
    """Runbook and dashboard begin with the addresses that Prometheus was given, which are no labels of the alert."""
    found = get(f"{stack.url('alertmanager')}/api/v2/alerts").json()
    assert found
    for alert in found:
        assert alert["annotations"]["runbook_url"].startswith(f"{ADDRESSES['RUNBOOKS_URL']}/")
        assert alert["annotations"]["dashboard_url"].startswith(f"{ADDRESSES['GRAFANA_URL']}/d/")
        assert not {"grafana_url", "runbooks_url"} & alert["labels"].keys()
    watchdog = [alert for alert in found if alert["labels"]["alertname"] == "Watchdog"]
    assert [receiver["name"] for alert in watchdog for receiver in alert["receivers"]] == ["dead-mans-switch"]


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(("name", "subject"), EXPECTED)
def test_the_alert_clears_when_the_fault_has_gone(stack, name, subject):
    """By itself, in Prometheus."""
    wait_until(lambda: (name, subject) not in alerts(stack.url("prometheus")), CLEARED_WITHIN, every=1, what="clearing")
