"""The documents of ``k8s/`` without kustomize: near enough to what it builds, and at once.

Files are read as they are, and what kustomize would generate or write into them (namespace,
images, ConfigMaps, replicas) is put in here in the simplest way. ``make manifests`` looks at the
real builds.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.manifests.documents import Documents

ROOT = Path(__file__).parents[3]
_OVERLAY = ROOT / "k8s/overlays/production"
_COMPONENTS = ("network-policies", "availability", "autoscaling")
_WATCHED = (*_COMPONENTS, "monitoring", "canary")


class Build:
    """A build that a test may spoil.

    Args:
        watched: Whether the components ``monitoring`` and ``canary`` are in it.
    """

    def __init__(self, *, watched: bool = False) -> None:
        assembled = _assembled(_WATCHED if watched else _COMPONENTS)
        self.all: list[dict[str, Any]] = copy.deepcopy(assembled)

    @property
    def documents(self) -> Documents:
        """What the checks look at."""
        return Documents(self.all)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one document."""
        (found,) = (
            item for item in self.all if (item["kind"], item["metadata"]["name"]) == (kind, name)
        )
        return found

    def pod(self, name: str) -> dict[str, Any]:
        """Return the specification of a workload's pods."""
        (found,) = (
            item["spec"]["template"]["spec"]
            for item in self.all
            if "template" in item.get("spec", {}) and item["metadata"]["name"] == name
        )
        pod: dict[str, Any] = found
        return pod

    def main(self, name: str) -> dict[str, Any]:
        """Return a workload's main container."""
        container: dict[str, Any] = self.pod(name)["containers"][0]
        return container

    def drop(self, kind: str, name: str) -> None:
        """Take a document out."""
        self.all.remove(self.get(kind, name))


Spoil = Callable[[Build], object]


@functools.cache
def _assembled(components: tuple[str, ...]) -> list[dict[str, Any]]:
    found = [*_resources(_OVERLAY)]
    for component in components:
        found += _resources(ROOT / "k8s/components" / component)
        _patch(found, ROOT / "k8s/components" / component)
    images = {
        entry["name"]: f"{entry.get('newName', entry['name'])}:{entry['newTag']}"
        for entry in _kustomization(_OVERLAY)["images"]
    }
    replicas = {entry["name"]: entry["count"] for entry in _kustomization(_OVERLAY)["replicas"]}
    for item in found:
        name = item["metadata"]["name"]
        if item["kind"] != "Namespace":
            item["metadata"]["namespace"] = "drawbridge"
        if name in replicas and item["kind"] == "Deployment":
            item["spec"]["replicas"] = replicas[name]
        pod = item.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            container["image"] = images.get(container["image"], container["image"])
    return found


def _patch(found: list[dict[str, Any]], directory: Path) -> None:
    """Put in what a component adds to lists of others' documents."""
    for patch in _kustomization(directory).get("patches", []):
        text = patch["patch"] if "patch" in patch else (directory / patch["path"]).read_text()
        content = yaml.safe_load(text)
        # The others say where pods are put, which nothing here asks.
        for change in content if isinstance(content, list) else []:
            *way, last = change["path"].strip("/").split("/")
            assert (change["op"], last) == ("add", "-")
            for item in found:
                where = (item["kind"], item["metadata"]["name"])
                if where == (patch["target"]["kind"], patch["target"]["name"]):
                    place: Any = item
                    for step in way:
                        place = place[step]
                    place.append(change["value"])


def _kustomization(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((directory / "kustomization.yaml").read_text("utf-8"))
    return content


def _resources(directory: Path) -> Iterator[dict[str, Any]]:
    content = _kustomization(directory)
    maps: dict[str, dict[str, Any]] = {}
    for name in content.get("resources", []):
        path = directory / name
        if path.is_dir():
            for item in _resources(path):
                if item["kind"] == "ConfigMap":
                    maps[item["metadata"]["name"]] = item
                else:
                    yield item
        else:
            yield from (item for item in yaml.safe_load_all(path.read_text("utf-8")) if item)
    for generator in content.get("configMapGenerator", []):
        files = [directory / file for file in generator.get("files", [])]
        data = {file.name: file.read_text("utf-8") for file in files}
        for file in generator.get("envs", []):
            lines = (directory / file).read_text("utf-8").splitlines()
            pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
            data |= {key: value for key, _, value in pairs}
        name = generator["name"]
        merged = maps.get(name, {}).get("data", {}) | data
        maps[name] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": merged,
        }
    yield from maps.values()
