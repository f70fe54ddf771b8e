"""The compose file: pinned, private, limited, and with every file that it mounts."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.bundle.bundle import COMPOSE, LAYERS, ROOT

SERVICES = COMPOSE["services"]
RUNNING = {name: service for name, service in SERVICES.items() if name != "volumes-init"}
EACH = pytest.mark.parametrize("name", RUNNING)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    """The same file gives the same stack next year."""
    _, _, tag = SERVICES[name]["image"].partition("@")[0].rpartition(":")
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_confined(name):
    """Nothing to write to but volumes, no capabilities, no new privileges, limits on memory and processes."""
    service = SERVICES[name]
    assert service["pids_limit"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]


@EACH
def test_ports_are_on_loopback_only(name):
    """The stack has no login but Grafana's."""
    assert all(str(port).startswith("127.0.0.1:") for port in RUNNING[name].get("ports", ()))


@EACH
def test_services_have_health_checks_without_a_shell(name):
    """Most images have no shell; the Collector's health is asked by a container in its network."""
    if name == "demo":
        return
    service = SERVICES["collector-health"] if name == "collector" else RUNNING[name]
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_lives_in_the_network_of_another(name):
    """When that one is made anew, the network it had is gone and the guest talks to nobody."""
    assert SERVICES[name].get("network_mode") in (None, "none")


def test_the_collector_waits_for_no_back_end():
    """Its queue is there for the time that one of them is ill; applications must be able to send."""
    assert set(SERVICES["collector"]["depends_on"]) == {"volumes-init"}


@pytest.mark.parametrize("name", ["tempo", "loki", "prometheus"])
def test_services_with_data_have_time_to_stop(name):
    """Docker kills after 10 s; Tempo alone takes longer to write what it has in memory."""
    assert SERVICES[name]["stop_grace_period"] == "2m"


def test_nobody_outside_the_stack_can_write_metrics():
    """Whoever reaches Prometheus's port may write to it."""
    assert "ports" not in SERVICES["prometheus"]


def test_links_in_alerts_begin_with_addresses_that_can_be_set():
    """And that work as shipped: each is the address of a port that is there."""
    published = {
        str(port).rpartition(":")[0].rpartition(":")[2] for s in SERVICES.values() for port in s.get("ports", ())
    }
    given = SERVICES["prometheus"]["environment"]
    for variable, external in (("GRAFANA_URL", "grafana_url"), ("RUNBOOKS_URL", "runbooks_url")):
        address = re.fullmatch(rf"\$\{{{variable}:-(http://localhost:(\d+))\}}", given[variable])
        assert address[2] in published
        assert f"{external}: ${{{variable}}}" in (ROOT / "backends/prometheus.yaml").read_text()
    assert SERVICES["grafana"]["environment"]["GF_SERVER_ROOT_URL"] == given["GRAFANA_URL"]
    for name in ("prometheus", "alertmanager"):
        assert any(part.startswith("--web.external-url=") for part in SERVICES[name]["command"])


def test_a_strict_umask_leaves_grafana_its_password(tmp_path):
    """The container's user is neither the owner of the file nor in its group; the directory keeps others out."""
    for name in ("Makefile", "stack.mk"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    subprocess.run(["sh", "-c", "umask 077 && make secrets"], cwd=tmp_path, check=True, capture_output=True)
    secret = tmp_path / "secrets" / "grafana-admin-password"
    assert len(secret.read_text()) >= 20
    assert secret.stat().st_mode & 0o777 == 0o444
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    before = secret.read_text()
    subprocess.run(["make", "secrets"], cwd=tmp_path, check=True, capture_output=True)
    assert secret.read_text() == before


@EACH
def test_mounted_files_exist_and_are_read_only(name):
    """A missing file would become an empty directory."""
    for volume in RUNNING[name].get("volumes", ()):
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert rest.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_grafana_has_no_anonymous_access_and_its_password_comes_from_a_file():
    """Nobody is administrator by finding the page."""
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana-admin-password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    assert COMPOSE["secrets"]["grafana-admin-password"] == {"file": "./secrets/grafana-admin-password"}


def test_vendors_are_told_nothing():
    """Usage reports are off in every component that sends them."""
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    assert environment["GF_ANALYTICS_CHECK_FOR_UPDATES"] == "false"
    for name in ("tempo", "loki"):
        assert "reporting_enabled: false" in (ROOT / f"backends/{name}.yaml").read_text()


def test_the_demo_and_alertmanager_are_profiles():
    """docker compose up starts neither."""
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"demo": ["demo"], "alertmanager": ["alerting"]}


def test_the_collector_is_started_with_layers_that_exist():
    """And with the unsampled local destination."""
    names = [part.rpartition("/")[2].removesuffix(".yaml") for part in SERVICES["collector"]["command"]]
    assert names[:2] == ["base", "local"]
    assert set(names) <= set(LAYERS)
    assert "sampling" not in names


@pytest.mark.parametrize("name", SERVICES)
def test_references_between_parts_lead_somewhere(name):
    """Services waited for, networks joined, secrets used."""
    service = SERVICES[name]
    assert set(service.get("depends_on", ())) <= set(SERVICES)
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    if service.get("network_mode", "").startswith("service:"):
        assert service["network_mode"].removeprefix("service:") in SERVICES


def test_who_is_waited_for_to_be_healthy_can_tell():
    """A condition on a service without a health check would never come true."""
    for service in SERVICES.values():
        waited = service.get("depends_on", {})
        for name, how in waited.items() if isinstance(waited, dict) else ():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
