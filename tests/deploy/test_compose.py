"""The containers of one machine: what an engine would be told, without one."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.compose import secrets
from infra.images.build import TARGETS
from infra.manifests.checks import ARROWS, TRIERS, TRYING, WATCHERS, WATCHING
from tests.images.containers import variables
from tests.promtool import promtool

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "infra/compose/compose.yaml"
#: In nginx' place, so what nginx shares with others it shares too.
GUEST = "nginx-exporter"
LOOKING = {"prometheus", "grafana", *WATCHERS, *TRIERS}
#: Images without a program that could ask them.
SILENT = {"nginx-exporter", "redis-exporter", "migrate"}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """Read the file, its anchors resolved."""
    read: dict[str, Any] = yaml.safe_load(SOURCE.read_text("utf-8"))
    return read


@pytest.fixture
def services(content: dict[str, Any]) -> dict[str, Any]:
    """Return its containers by their names."""
    found: dict[str, Any] = content["services"]
    return found


def test_who_shares_a_network_has_an_arrow(services: dict[str, Any]) -> None:
    """And who has an arrow shares one; the migrations stand beside the service they are for."""
    members: dict[str, set[str]] = {}
    for name, service in services.items():
        for network in service.get("networks", []):
            members.setdefault(network, set()).add(name)
    near = {
        frozenset(pair)
        for names in members.values()
        for pair in itertools.combinations(names, 2)
        if not LOOKING & set(pair)
    }
    assert services[GUEST]["network_mode"] == "service:nginx"
    for who, to in WATCHING | TRYING:
        assert set(services[who]["networks"]) & set(services[to]["networks"])
        assert set(services[who]["networks"]) & set(services["prometheus"]["networks"])

    arrows = {frozenset(arrow) for arrow in ARROWS if "world" not in arrow}
    assert near == arrows | {frozenset({"auth-service", "migrate"})}


def test_only_networks_with_a_door_lead_outside(content: dict[str, Any]) -> None:
    """A service without a port cannot call anybody outside."""
    inside = {
        name for name, options in content["networks"].items() if options == {"internal": True}
    }

    for name, service in content["services"].items():
        assert ("ports" in service) == bool(set(service.get("networks", [])) - inside), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_each_container_is_hardened_and_bounded(services: dict[str, Any]) -> None:
    """Nothing to write to, no rights, and a probe for whoever waits for it."""
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert bool(service["healthcheck"].get("test")) == (name not in SILENT)


def test_nobody_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    """Ready, or done: started is not enough."""
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if other == "migrate" else "service_healthy"
            assert wanted["condition"] == done, name


def test_our_images_are_those_that_are_built(services: dict[str, Any]) -> None:
    """The others have a version, and it is the cluster's."""
    ours = {
        name: match[1]
        for name, service in services.items()
        if (match := re.match(r".*/drawbridge/([a-z-]+):\$\{TAG:-dev\}$", service["image"]))
    }
    assert ours == {target: target for target in TARGETS} | {"migrate": "auth-service"}
    production = yaml.safe_load((ROOT / "k8s/overlays/production/kustomization.yaml").read_text())
    versions = {entry["name"]: entry["newTag"] for entry in production["images"]}
    for name in services.keys() - ours.keys():
        image, _, tag = services[name]["image"].partition(":")
        assert tag == versions.get(image, tag)
        assert re.search(r"\d+\.\d+", tag), name


def test_no_secret_is_in_the_file_and_each_is_drawn(
    content: dict[str, Any], tmp_path: Path
) -> None:
    """`make compose` makes exactly the files that are mounted."""
    prefix = "../../.local/compose/secrets/"
    secrets.ensure(tmp_path / "compose/secrets")
    made = {
        str(path.relative_to(tmp_path / "compose/secrets"))
        for path in (tmp_path / "compose/secrets").rglob("*")
        if path.is_file()
    }

    assert "dev-only" not in SOURCE.read_text("utf-8")
    assert {prefix + name for name in made} == {
        entry["file"] for entry in content["secrets"].values()
    }
    used = [
        item["source"] for one in content["services"].values() for item in one.get("secrets", [])
    ]
    assert set(used) == set(content["secrets"])


def test_a_variable_names_a_secret_that_its_container_has(services: dict[str, Any]) -> None:
    """Also one of the files that the cluster has too."""
    for name, service in services.items():
        given = dict(service.get("environment", {}))
        if name in {"auth-service", "ws-gateway"}:
            given = variables(name) | given
        targets = {item["target"] for item in service.get("secrets", [])}
        for variable, value in given.items():
            if variable.endswith("_FILE") and value.startswith("/run/secrets/"):
                assert value in targets, (name, variable)


def test_what_is_mounted_is_there_and_cannot_be_written(content: dict[str, Any]) -> None:
    """But for the volumes, which are named."""
    for name, service in content["services"].items():
        for entry in service.get("env_file", []):
            assert (SOURCE.parent / entry).is_file()
        for mount in service.get("volumes", []):
            source, _, rest = mount.partition(":")
            if source in content["volumes"]:
                continue
            assert rest.endswith(":ro"), (name, mount)
            assert (SOURCE.parent / source).exists(), (name, mount)


def test_scripts_of_the_database_are_run_and_not_read_into_its_start() -> None:
    """The image sources what is not executable, with all that it sets."""
    for path in (ROOT / "k8s/base/postgres").glob("*.sh"):
        assert path.stat().st_mode & 0o111


def test_prometheus_asks_the_services_by_their_names(tmp_path: Path) -> None:
    """With the rules of everywhere, and by jobs that are called the same."""
    text = (SOURCE.parent / "prometheus.yml").read_text("utf-8")
    general = (ROOT / "infra/prometheus/prometheus.yml").read_text("utf-8")
    read, usual = yaml.safe_load(text), yaml.safe_load(general)
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copytree(ROOT / "infra/prometheus/rules", tmp_path / "rules")

    promtool("check", "config", tmp_path / "prometheus.yml")
    assert (read["global"], read["rule_files"]) == (usual["global"], usual["rule_files"])
    jobs = {entry["job_name"]: entry for entry in read["scrape_configs"]}
    assert jobs.keys() == {entry["job_name"] for entry in usual["scrape_configs"]}
    for name in {to for who, to in ARROWS if who == "nginx"}:
        (asked,) = jobs[name]["dns_sd_configs"]
        assert (asked["names"], asked["type"], asked["port"]) == ([name], "A", 9000)
