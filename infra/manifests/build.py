"""Builds overlays by kustomize: kubectl's, one of its own, or a pinned one that Go makes here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from infra.manifests.documents import Document, Documents
from infra.manifests.exceptions import ManifestError

ROOT = Path("k8s")
OVERLAYS = ("dev", "production")
# Left out of the overlays, because not every cluster can have them.
OPTIONAL = (
    "balanced-gateways",
    "dual-stack",
    "monitoring",
    "cert-manager",
    "canary",
    "redis-sentinel",
    "external-redis",
    "external-postgres",
)
NAMESPACE = "drawbridge"
TARGET = Path("build/manifests")
_TOOLS = Path("build/tools")
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
_GO_SECONDS = 600


def find() -> tuple[str, ...] | None:
    """Return the command that builds a directory; None where there is none, and no Go to make one.

    Raises:
        ManifestError: Go could not make it.
    """
    kubectl = shutil.which("kubectl")
    if kubectl:
        return (kubectl, "kustomize")
    made = (_TOOLS / "kustomize").absolute()
    kustomize = shutil.which("kustomize") or (str(made) if made.exists() else None)
    go = shutil.which("go")
    if kustomize is None and go:
        environment = {**os.environ, "GOBIN": str(made.parent)}
        command = [go, "install", KUSTOMIZE]
        done = subprocess.run(command, check=False, env=environment, timeout=_GO_SECONDS)  # noqa: S603
        if done.returncode != 0:
            raise ManifestError("go could not make kustomize")
        kustomize = str(made)
    return (kustomize, "build") if kustomize else None


def build(kustomize: Sequence[str], directory: Path) -> str:
    """Build one directory.

    Raises:
        ManifestError: It cannot be built.
    """
    command = [*kustomize, str(directory)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        raise ManifestError(f"{directory}: {done.stderr.strip()}")
    if done.stderr.strip():
        # Such as a field that the next version will not know.
        raise ManifestError(f"{directory}: {done.stderr.strip().splitlines()[0]}")
    return done.stdout


def with_components(overlay: Path, components: Sequence[str], directory: Path) -> None:
    """Write an overlay of an overlay, which adds components to it.

    Args:
        overlay: What it stands on.
        components: Names of directories in ``k8s/components``.
        directory: Of the new one.
    """
    directory.mkdir(parents=True, exist_ok=True)

    def relative(path: Path) -> str:
        return os.path.relpath(path, directory)

    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [relative(overlay)],
        "components": [relative(ROOT / "components" / name) for name in components],
        # Of a container that comes with a component, too.
        "images": yaml.safe_load((overlay / "kustomization.yaml").read_text("utf-8"))["images"],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content), "utf-8")


def read(text: str) -> Documents:
    """Read what was built."""
    documents: list[Document] = [item for item in yaml.safe_load_all(text) if item]
    return Documents(documents)
