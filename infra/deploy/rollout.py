"""Applies an overlay with the images of this version, and waits until it serves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.deploy.exceptions import DeployError
from infra.images.build import SERVING, TARGETS, Names
from infra.manifests.documents import Documents, references

OVERLAYS = Path("k8s/overlays")
NAMESPACE = "drawbridge"
DIRECTORY = Path("build/deploy")
JOB = "job/migrate"
# Longer than the slowest of them may take: nginx gives sockets five minutes to move.
_ROLLOUT_SECONDS = 1800
_MIGRATION_SECONDS = 900
_NAMESPACE_DOCUMENT = re.compile(r"^kind: Namespace$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of kubectl's current context.

    Args:
        kubectl: The program.
    """

    kubectl: str

    def run(self, *words: str, given: str | None = None) -> None:
        """Run kubectl; it says itself what it does.

        Args:
            words: Its arguments.
            given: What it reads from its standard input.

        Raises:
            DeployError: It failed.
        """
        command = [self.kubectl, *words]
        done = subprocess.run(command, check=False, input=given, text=True)  # noqa: S603
        if done.returncode != 0:
            raise DeployError(f"kubectl {' '.join(words)}: failed, see above")

    def build(self, directory: Path) -> str:
        """Return what an overlay consists of.

        Raises:
            DeployError: It cannot be built.
        """
        command = [self.kubectl, "kustomize", str(directory)]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603
        if done.returncode != 0:
            raise DeployError(f"kubectl kustomize {directory}: failed, see above")
        return done.stdout

    def has_secret(self, name: str) -> bool | None:
        """Say whether a Secret is there; None where one may not even ask.

        Args:
            name: In our namespace, which need not be there either.
        """
        words = ["get", f"secret/{name}", "--output", "name", "--ignore-not-found"]
        command = [self.kubectl, "--namespace", NAMESPACE, *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        return bool(done.stdout.strip()) if done.returncode == 0 else None


def find() -> Cluster:
    """Find kubectl.

    Raises:
        DeployError: It is not installed.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise DeployError("missing: kubectl; see https://kubernetes.io/docs/tasks/tools/")
    return Cluster(kubectl)


def overlay(name: str) -> Path:
    """Return an overlay's directory.

    Raises:
        DeployError: There is none of this name.
    """
    known = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
    if name not in known:
        raise DeployError(f"OVERLAY: must be one of {', '.join(known)}")
    return OVERLAYS / name


def require_secrets(cluster: Cluster, source: Path) -> None:
    """See to it that pods find the Secrets which the overlay leaves to the operator.

    Args:
        cluster: Where they have to be.
        source: The overlay.

    Raises:
        DeployError: Some are not there; the line names them.
    """
    build = Documents([item for item in yaml.safe_load_all(cluster.build(source)) if item])
    # cert-manager's own come after the apply.
    made = {*build.of("Secret")} | {
        document["spec"]["secretName"] for document in build.of("Certificate").values()
    }
    wanted = {
        name
        for workload in build.workloads.values()
        for kind, name, _ in references(workload)
        if kind == "Secret"
    }
    missing = [name for name in sorted(wanted - made) if cluster.has_secret(name) is False]
    if missing:
        raise DeployError(
            f"missing in namespace {NAMESPACE}: Secret {', '.join(missing)};"
            " see docs/kubernetes.md#production"
        )


def deploy(cluster: Cluster, source: Path, names: Names) -> None:
    """Bring a cluster to this version.

    Pods of the new version wait for the migrations by themselves; until they are ready, the old
    ones serve.

    Args:
        cluster: Where to.
        source: The overlay.
        names: Of the images, which its nodes can pull.

    Raises:
        DeployError: The cluster refused something, or it did not come up in time.
    """
    write(source, names, DIRECTORY)
    # The last version's; a Job cannot be changed.
    cluster.run("--namespace", NAMESPACE, "delete", JOB, "--ignore-not-found")
    cluster.run("apply", "--kustomize", str(DIRECTORY))
    _wait(cluster, "wait", "--for=condition=complete", JOB, seconds=_MIGRATION_SECONDS)
    for target in SERVING:
        _wait(cluster, "rollout", "status", f"deployment/{target}", seconds=_ROLLOUT_SECONDS)


def undeploy(cluster: Cluster, source: Path) -> None:
    """Remove everything but the namespace, and with it data and Secrets that somebody made.

    Raises:
        DeployError: The cluster refused something.
    """
    documents = cluster.build(source).split("\n---\n")
    text = "\n---\n".join(item for item in documents if not _NAMESPACE_DOCUMENT.search(item))
    cluster.run("delete", "--ignore-not-found", "--filename", "-", given=text)
    print(f"Data and Secrets are left: kubectl delete namespace {NAMESPACE}")


def write(source: Path, names: Names, directory: Path) -> None:
    """Write an overlay of an overlay, with the images of this version."""
    content = yaml.safe_load((source / "kustomization.yaml").read_text("utf-8"))
    before = {entry["name"]: entry.get("newName", entry["name"]) for entry in content["images"]}
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(source, directory)],
        "images": [
            {
                "name": before[target],
                "newName": names.repository(target),
                "newTag": names.tag,
            }
            for target in TARGETS
        ],
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(made), "utf-8")


def _wait(cluster: Cluster, *words: str, seconds: int) -> None:
    rest: Sequence[str] = (*words, f"--timeout={seconds}s")
    cluster.run("--namespace", NAMESPACE, *rest)
