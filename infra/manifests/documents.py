"""A build's documents, and what the checks ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
_WITH_PODS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that makes pods.

    Args:
        document: As it was built.
    """

    document: Document

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.document["metadata"]["name"])

    @property
    def template(self) -> Document:
        """Its pods."""
        template: Document = self.document["spec"]["template"]
        return template

    @property
    def labels(self) -> Mapping[str, str]:
        """Its pods' labels."""
        labels: Mapping[str, str] = self.template["metadata"].get("labels", {})
        return labels

    @property
    def pod(self) -> Document:
        """Its pods' specification."""
        pod: Document = self.template["spec"]
        return pod

    @property
    def main(self) -> Document:
        """The container that the pod is about."""
        main: Document = self.pod["containers"][0]
        return main

    @property
    def containers(self) -> list[Document]:
        """All containers, those of the start first."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """The ports of its pods by name."""
        return {
            port["name"]: port["containerPort"]
            for container in self.pod["containers"]
            for port in container.get("ports", [])
        }

    @property
    def volumes(self) -> dict[str, Document]:
        """Its pods' volumes by name."""
        return {volume["name"]: volume for volume in self.pod.get("volumes", [])}


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that one build made.

    Args:
        all: In its order.
    """

    all: Sequence[Document]

    def of(self, kind: str) -> dict[str, Document]:
        """Return the documents of one kind by name."""
        return {
            document["metadata"]["name"]: document
            for document in self.all
            if document["kind"] == kind
        }

    @property
    def workloads(self) -> dict[str, Workload]:
        """Whatever makes pods, by name."""
        found = (Workload(document) for document in self.all if document["kind"] in _WITH_PODS)
        return {workload.name: workload for workload in found}

    def selected(self, labels: Mapping[str, str]) -> list[Workload]:
        """Return whose pods have these labels."""
        return [
            workload
            for workload in self.workloads.values()
            if labels.items() <= workload.labels.items()
        ]

    def configuration(self, workload: Workload) -> dict[str, str]:
        """Return the variables of a workload's main container."""
        return self.variables(workload.main)

    def variables(self, container: Document) -> dict[str, str]:
        """Return a container's variables, those of its ConfigMaps too.

        One that is told elsewhere than in the build is empty.
        """
        maps = self.of("ConfigMap")
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            name = source.get("configMapRef", {}).get("name", "")
            found |= maps.get(name, {}).get("data", {})
        entries = container.get("env", [])
        return found | {entry["name"]: entry.get("value", "") for entry in entries}


def references(workload: Workload) -> Iterator[tuple[str, str, set[str]]]:
    """Yield what a pod cannot start without: kind, name, and the keys that must be in it."""
    yield "ServiceAccount", str(workload.pod.get("serviceAccountName", "default")), set()
    for container in workload.containers:
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    yield kind, source[field]["name"], set()
    for volume in workload.volumes.values():
        yield from _mounted(volume)
        for source in volume.get("projected", {}).get("sources", []):
            yield from _mounted(source)


def _mounted(volume: Document) -> Iterator[tuple[str, str, set[str]]]:
    for field, kind, name in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
    ):
        if field in volume:
            keys = {item["key"] for item in volume[field].get("items", [])}
            yield kind, volume[field].get(name) or volume[field]["name"], keys
