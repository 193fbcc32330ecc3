"""Kustomize: which one, and what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from infra.manifests import build
from infra.manifests.exceptions import ManifestError


class Machine:
    """A machine with the programs that a test gives it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        monkeypatch.setattr(build, "_TOOLS", directory / "tools")
        monkeypatch.setattr(shutil, "which", self.which)

    def which(self, name: str) -> str | None:
        """Find a program of this machine."""
        return str(self.bin / name) if (self.bin / name).exists() else None

    def program(self, name: str, text: str = "") -> str:
        """Have a program."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With none of them."""
    return Machine(tmp_path, monkeypatch)


def test_kubectl_is_enough(machine: Machine) -> None:
    """Most have it."""
    kubectl = machine.program("kubectl")
    machine.program("kustomize")

    assert build.find() == (kubectl, "kustomize")


def test_kustomize_will_do(machine: Machine) -> None:
    """Its command has another word."""
    assert build.find() is None

    kustomize = machine.program("kustomize")

    assert build.find() == (kustomize, "build")


def test_go_makes_a_pinned_one_once(machine: Machine, tmp_path: Path) -> None:
    """For machines that have neither."""
    notes = tmp_path / "notes"
    machine.program("go", f'echo "$@" >> {notes}; mkdir -p $GOBIN; touch $GOBIN/kustomize')

    assert build.find() == (str(tmp_path / "tools/kustomize"), "build")
    assert build.find() == (str(tmp_path / "tools/kustomize"), "build")
    assert notes.read_text() == f"install {build.KUSTOMIZE}\n"


def test_a_failed_go_says_so(machine: Machine) -> None:
    """Its own words are above."""
    machine.program("go", "exit 1")

    with pytest.raises(ManifestError, match=r"^go could not make kustomize$"):
        build.find()


def test_what_cannot_be_built_says_where(machine: Machine) -> None:
    """And why."""
    kustomize = machine.program("kustomize", "echo no such file >&2; exit 1")

    with pytest.raises(ManifestError, match=r"^k8s: no such file$"):
        build.build([kustomize, "build"], Path("k8s"))


def test_a_warning_is_an_error(machine: Machine) -> None:
    """A field that the next version will not know."""
    kustomize = machine.program("kustomize", "echo x; echo '# deprecated' >&2")

    with pytest.raises(ManifestError, match="deprecated"):
        build.build([kustomize, "build"], Path("k8s"))


def test_documents_are_read(machine: Machine) -> None:
    """Empty ones are none."""
    kustomize = machine.program("kustomize", 'printf "kind: A\\n---\\n---\\nkind: B\\n"')

    text = build.build([kustomize, "build"], Path("k8s"))

    assert [item["kind"] for item in build.read(text).all] == ["A", "B"]


def test_components_are_tried_on_an_overlay(tmp_path: Path) -> None:
    """Paths are relative: kustomize takes no others."""
    build.with_components(Path("k8s/overlays/production"), ["monitoring"], tmp_path / "trial")

    written = yaml.safe_load((tmp_path / "trial/kustomization.yaml").read_text())
    found = [*written["resources"], *written["components"]]
    assert [(tmp_path / "trial" / name).resolve() for name in found] == [
        Path("k8s/overlays/production").resolve(),
        Path("k8s/components/monitoring").resolve(),
    ]


def test_every_component_is_looked_at() -> None:
    """Those of an overlay with it, the others by themselves."""
    overlay = yaml.safe_load(Path("k8s/overlays/production/kustomization.yaml").read_text())
    used = {Path(name).name for name in overlay["components"]}

    there = {path.name for path in Path("k8s/components").iterdir()}
    assert there == used | set(build.OPTIONAL)
    assert {path.name for path in Path("k8s/overlays").iterdir()} == set(build.OVERLAYS)
