"""The compose file: pinned, private, limited, and with every file that it mounts."""

from __future__ import annotations

import pytest
from bundle import COMPOSE, LAYERS, ROOT

SERVICES = COMPOSE["services"]
RUNNING = {name: service for name, service in SERVICES.items() if name != "volumes-init"}
EACH = pytest.mark.parametrize("name", RUNNING)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    """The same file gives the same stack next year."""
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert tag
    assert tag != "latest"


@EACH
def test_containers_are_confined(name):
    """Nothing to write to but volumes, no capabilities, no new privileges, a limit on memory."""
    service = RUNNING[name]
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
    if name == "collector":
        assert service["network_mode"] == "service:collector"


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
