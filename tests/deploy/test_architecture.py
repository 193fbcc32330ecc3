"""One name for one thing: what is deployed is called the same wherever it is spoken of."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from infra.images.build import SERVING, TARGETS
from infra.manifests.checks import ARROWS, TRIERS, WATCHERS, WORKLOADS
from infra.stack import nginx, prometheus

ROOT = Path(__file__).parents[2]
SERVICES = {to for who, to in ARROWS if who == "nginx"}


def names(pattern: str) -> set[str]:
    """Name files without their ending."""
    return {path.stem for path in ROOT.glob(pattern)}


def test_the_images_are_the_front_and_its_services() -> None:
    """And who tries them. The rest is somebody else's; the Job runs one of them."""
    assert set(SERVING) == SERVICES | {"nginx"}
    assert set(TARGETS) == {*SERVING, *TRIERS}
    content = yaml.safe_load((ROOT / "k8s/overlays/production/kustomization.yaml").read_text())
    named = {entry["name"] for entry in content["images"]}
    assert named == (WORKLOADS - {"migrate"}) | TRIERS


def test_each_node_has_a_file_and_each_arrow_an_end() -> None:
    """In the base, and among the policies."""
    assert names("k8s/base/*.yaml") - {"kustomization"} == WORKLOADS
    policies = names("k8s/components/network-policies/*.yaml")
    assert policies - {"kustomization", "default-deny"} == WORKLOADS


def test_containers_of_one_machine_are_the_picture() -> None:
    """And who watches it. Two gateways, so that they need Redis."""
    services = yaml.safe_load((ROOT / "infra/compose/compose.yaml").read_text("utf-8"))["services"]

    assert services.keys() == WORKLOADS | WATCHERS | TRIERS | {
        *("nginx-exporter", "prometheus", "grafana"),
    }
    # Which needs a user before it can start.
    assert {name for name in services if "profiles" in services[name]} == TRIERS
    assert services["ws-gateway"]["deploy"] == {"replicas": 2}


def test_nginx_has_a_file_and_an_upstream_for_each_service() -> None:
    """Under its name."""
    assert names("nginx/conf.d/*.conf") == SERVICES
    text = (nginx.SOURCE / "nginx.conf").read_text("utf-8")
    assert set(re.findall(r"^\s*upstream (\S+)", text, re.MULTILINE)) == SERVICES


def test_prometheus_calls_them_the_same_everywhere() -> None:
    """The same rules and dashboards hold on one machine and in a cluster."""
    jobs = set(re.findall(r"job_name: (\S+)", prometheus.SOURCE.read_text("utf-8")))
    compose = (ROOT / "infra/compose/prometheus.yml").read_text("utf-8")
    monitors, others, trying = (
        list(yaml.safe_load_all((ROOT / "k8s/components" / name).read_text("utf-8")))
        for name in (
            *("monitoring/service-monitors.yaml", "monitoring/pod-monitors.yaml"),
            "canary/pod-monitor.yaml",
        )
    )
    others += trying

    assert {item["metadata"]["name"] for item in monitors} == SERVICES
    assert {item["spec"]["jobLabel"] for item in monitors} == {"app.kubernetes.io/name"}
    named = {
        change["replacement"]
        for item in others
        for endpoint in item["spec"]["podMetricsEndpoints"]
        for change in endpoint["relabelings"]
        if change["targetLabel"] == "job"
    }
    assert named == {item["metadata"]["name"] for item in others}
    # Prometheus itself is the cluster's.
    assert SERVICES | named | {"prometheus"} == jobs
    assert set(re.findall(r"job_name: (\S+)", compose)) == jobs


def test_exporters_are_the_same_everywhere() -> None:
    """One version and one way to ask, in the cluster and on one machine."""
    services = yaml.safe_load((ROOT / "infra/compose/compose.yaml").read_text("utf-8"))["services"]
    directory = ROOT / "k8s/components/monitoring"
    (sidecar,) = yaml.safe_load((directory / "nginx-exporter.yaml").read_text("utf-8"))
    containers = {"nginx-exporter": sidecar["value"]}
    for name in WATCHERS:
        _, deployment = yaml.safe_load_all((directory / f"{name}.yaml").read_text("utf-8"))
        (containers[name],) = deployment["spec"]["template"]["spec"]["containers"]

    for name, container in containers.items():
        service = services[name]
        variables = {item["name"]: item["value"] for item in container.get("env", [])}
        assert (service["image"], service["command"]) == (container["image"], container["args"])
        assert service.get("environment", {}) == variables


def test_the_readme_has_the_picture() -> None:
    """Whoever reads it first finds the same nodes later."""
    text = (ROOT / "README.md").read_text("utf-8")
    (picture,) = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    for node in SERVICES | {"nginx", "redis"}:
        assert node.replace("-", "_") in picture.lower().replace("-", "_")
