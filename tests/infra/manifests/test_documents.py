"""What the checks read out of the documents."""

from __future__ import annotations

from infra.manifests.documents import references
from tests.infra.manifests.sample import Build


def test_a_workload_is_found_by_its_pods_labels() -> None:
    """As a Service would find it."""
    build = Build().documents

    assert [one.name for one in build.selected({"app.kubernetes.io/name": "redis"})] == ["redis"]
    assert build.selected({"app.kubernetes.io/name": "nobody"}) == []


def test_variables_come_from_maps_and_from_the_container() -> None:
    """Whichever way a process gets them."""
    build = Build().documents

    gateway = build.configuration(build.workloads["ws-gateway"])
    migrate = build.configuration(build.workloads["migrate"])

    assert gateway["GATEWAY_DRAIN_SECONDS"] == "60"
    assert gateway["GATEWAY_ORIGINS"] == "https://drawbridge.example"
    assert migrate == {"AUTH_DATABASE_URL_FILE": "/run/secrets/drawbridge/database-url"}


def test_all_that_a_pod_needs_is_told() -> None:
    """Mounted, projected, and read as variables."""
    build = Build().documents

    found = {(kind, name) for kind, name, _ in references(build.workloads["nginx"])}
    keys = {name: keys for _, name, keys in references(build.workloads["nginx"])}

    assert found == {
        ("ServiceAccount", "nginx"),
        ("Secret", "nginx-tls"),
        *(("ConfigMap", f"nginx{part}") for part in ("", "-conf-d", "-snippets", "-generated")),
    }
    assert keys["nginx"] == {"nginx.conf"}


def test_containers_of_the_start_count() -> None:
    """They have the same rights as the others."""
    auth = Build().documents.workloads["auth-service"]

    assert [item["name"] for item in auth.containers] == ["wait-for-tables", "auth-service"]
    assert auth.ports == {"http": 8080, "internal": 9000}
