"""The generated part of the front's configuration in a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from auth_service.settings import Settings as AuthSettings
from infra.manifests import front
from infra.stack import nginx
from ws_gateway.settings import Settings as GatewaySettings


def test_what_is_in_the_repository_is_what_is_generated() -> None:
    """Otherwise: make manifests."""
    files = {path.name: path.read_text("utf-8") for path in front.DIRECTORY.glob("*.conf")}

    assert files == nginx.generated(front.PLACE)


def test_every_file_gets_into_a_config_map() -> None:
    """A new one would be missing in the pods only."""
    static = yaml.safe_load(Path("nginx/kustomization.yaml").read_text("utf-8"))
    listed = {name for entry in static["configMapGenerator"] for name in entry["files"]}
    base = yaml.safe_load(Path("k8s/base/kustomization.yaml").read_text("utf-8"))
    (generated,) = (
        entry["files"] for entry in base["configMapGenerator"] if entry["name"] == "nginx-generated"
    )

    assert listed == {str(path.relative_to("nginx")) for path in Path("nginx").rglob("*.conf")}
    assert set(generated) == {f"nginx/{name}" for name in nginx.generated(front.PLACE)}


def test_writing_removes_what_is_no_more(tmp_path: Path) -> None:
    """A file of an earlier version would be included."""
    (tmp_path / "old.conf").touch()

    front.write(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == set(nginx.generated(front.PLACE))


def test_logs_are_the_containers_own() -> None:
    """Its root is read-only, and somebody collects what it says."""
    files = nginx.generated(front.PLACE)

    assert "error_log stderr notice;" in files["main.conf"]
    assert "access_log /dev/stdout front;" in files["http.conf"]
    assert "error_log stderr emerg;" in files["http.conf"]


def test_nobody_is_served_without_tls() -> None:
    """The other listener is for probes."""
    assert nginx.generated(front.PLACE)["listen.conf"] == "listen 8443 ssl backlog=4096;\n"


@pytest.mark.parametrize("directory", front.VARIANTS, ids=lambda directory: directory.name)
def test_what_a_component_changes_is_generated_too(directory: Path) -> None:
    """And kustomization.yaml names those files and no others."""
    files = {path.name: path.read_text("utf-8") for path in directory.glob("*.conf")}
    content = yaml.safe_load((directory / "kustomization.yaml").read_text("utf-8"))
    (listed,) = (
        entry["files"]
        for entry in content["configMapGenerator"]
        if entry["name"] == "nginx-generated"
    )

    assert files == front.changed(front.VARIANTS[directory])
    assert sorted(listed) == sorted(files)


def test_with_ipv6_everything_listens_on_both_families() -> None:
    """Nginx by its files, the services by their settings, which understand them."""
    path = front.DUAL_DIRECTORY / "kustomization.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    given = dict(
        literal.split("=", 1)
        for entry in content["configMapGenerator"]
        for literal in entry.get("literals", [])
    )

    assert len(given) == 4
    files = nginx.generated(front.DUAL)
    for name in ("listen.conf", "status.conf"):
        assert len(re.findall(r"^listen (\[::\]:)?8\d{3} ", files[name], re.MULTILINE)) == 2
    gateway = GatewaySettings.from_environment(given)
    auth = AuthSettings.from_environment(given)
    both = [("0.0.0.0", 8080), ("::", 8080)]  # noqa: S104 - a pod has no other
    internal = [(host, 9000) for host, _ in both]
    assert (list(gateway.bind), list(gateway.internal_bind)) == (both, internal)
    assert [(entry.host, entry.port) for entry in auth.bind] == both
    assert [(entry.host, entry.port) for entry in auth.internal_bind] == internal
