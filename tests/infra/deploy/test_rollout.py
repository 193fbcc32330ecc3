"""What kubectl is told, by one that takes notes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from infra.deploy import rollout
from infra.deploy.exceptions import DeployError
from infra.deploy.rollout import Cluster
from infra.images.build import Names

NAMES = Names("registry.example/team", "1.2.3")
BUILT = """\
apiVersion: v1
kind: Namespace
metadata:
  name: drawbridge
---
apiVersion: v1
kind: Service
metadata:
  name: nginx
"""


class Notes:
    """A kubectl that writes down what it is told."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "notes"
        self.given = directory / "given"
        self.kubectl = directory / "kubectl"
        (directory / "built").write_text(BUILT)
        self.script(f'case "$1" in kustomize) cat {directory}/built;; esac')

    def script(self, text: str) -> None:
        """Have it do something besides."""
        self.kubectl.write_text(
            f'#!/bin/sh\necho "$@" >> {self.file}\n'
            f'case "$1" in delete) cat > {self.given};; esac\n{text}\n'
        )
        self.kubectl.chmod(0o755)

    def read(self) -> list[str]:
        """Return the commands."""
        return self.file.read_text().splitlines()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """A cluster that agrees to everything."""
    return Notes(tmp_path)


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into the test's own directory."""
    monkeypatch.setattr(rollout, "DIRECTORY", tmp_path / "deploy")


def test_the_last_migration_goes_and_the_next_is_waited_for(notes: Notes, tmp_path: Path) -> None:
    """Then the three that clients notice."""
    rollout.deploy(Cluster(str(notes.kubectl)), rollout.overlay("production"), NAMES)

    said = notes.read()
    assert said[0] == "--namespace drawbridge delete job/migrate --ignore-not-found"
    assert said[1] == f"apply --kustomize {tmp_path}/deploy"
    assert said[2].startswith("--namespace drawbridge wait --for=condition=complete job/migrate")
    waited = [line.split("deployment/")[1].split()[0] for line in said[3:]]
    assert waited == ["auth-service", "ws-gateway", "nginx"]
    assert all("--timeout=" in line for line in said[2:])


def _workload(volume: str, kind: str = "Deployment") -> str:
    return f"""\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {volume}}}
spec:
  template:
    metadata: {{}}
    spec:
      containers: [{{name: main, image: "a:1"}}]
      volumes: [{{name: secrets, secret: {{secretName: {volume}}}}}]
"""


def test_what_only_an_operator_can_make_is_asked_for_first(notes: Notes, tmp_path: Path) -> None:
    """Each Secret that no document makes; pods without one wait for it, and say so to nobody."""
    certificate = "kind: Certificate\nmetadata: {name: front}\nspec: {secretName: nginx-tls}\n"
    own = "kind: Secret\nmetadata: {name: own}\n"
    workloads = [_workload(name) for name in ("there", "nginx-tls", "own", "gone")]
    documents = [certificate, own, *workloads, _workload("lost", "Job")]
    (tmp_path / "built").write_text("---\n".join(documents))
    answers = f"kustomize*) cat {tmp_path}/built;; *getsecret/there) echo secret/there;;"
    notes.script(f'case "$1$3$4" in {answers} esac')

    with pytest.raises(DeployError, match=r"Secret gone, lost; see docs/kubernetes\.md"):
        rollout.require_secrets(Cluster(str(notes.kubectl)), rollout.overlay("production"))

    asked = [line.split("secret/")[1].split()[0] for line in notes.read()[1:]]
    assert asked == ["gone", "lost", "there"]


def test_one_who_may_not_look_at_secrets_may_deploy(notes: Notes, tmp_path: Path) -> None:
    """The cluster refuses the question, and nothing is known."""
    (tmp_path / "built").write_text(_workload("gone"))
    notes.script(f'case "$1" in kustomize) cat {tmp_path}/built;; *) exit 1;; esac')

    rollout.require_secrets(Cluster(str(notes.kubectl)), rollout.overlay("production"))

    assert len(notes.read()) == 2


def test_the_images_are_those_of_this_version(tmp_path: Path) -> None:
    """The names that the overlay gives them are replaced, not those that the base has."""
    for name in ("dev", "production"):
        rollout.write(rollout.overlay(name), NAMES, tmp_path / name)
        written = yaml.safe_load((tmp_path / name / "kustomization.yaml").read_text())

        assert written["images"][0] == {
            "name": "localhost/drawbridge/auth-service",
            "newName": "registry.example/team/drawbridge/auth-service",
            "newTag": "1.2.3",
        }
        assert (tmp_path / name / written["resources"][0]).resolve() == Path(
            f"k8s/overlays/{name}"
        ).resolve()


def test_a_refusal_ends_it(notes: Notes) -> None:
    """Nothing is waited for that was not applied."""
    notes.script('[ "$1" != apply ]')

    with pytest.raises(DeployError, match=r"^kubectl apply .*: failed"):
        rollout.deploy(Cluster(str(notes.kubectl)), rollout.overlay("dev"), NAMES)

    assert len(notes.read()) == 2


def test_undeploy_leaves_the_namespace(notes: Notes, capsys: pytest.CaptureFixture[str]) -> None:
    """With it would go the data."""
    rollout.undeploy(Cluster(str(notes.kubectl)), rollout.overlay("dev"))

    given = list(yaml.safe_load_all(notes.given.read_text()))
    assert [item["kind"] for item in given] == ["Service"]
    assert "kubectl delete namespace drawbridge" in capsys.readouterr().out


def test_what_cannot_be_built_is_not_deleted(notes: Notes) -> None:
    """An empty list would be."""
    notes.script("exit 1")

    with pytest.raises(DeployError, match=r"^kubectl kustomize"):
        rollout.undeploy(Cluster(str(notes.kubectl)), rollout.overlay("dev"))

    assert len(notes.read()) == 1


def test_an_overlay_is_one_of_those_that_are_there() -> None:
    """The line names them."""
    with pytest.raises(DeployError, match=r"^OVERLAY: must be one of dev, production$"):
        rollout.overlay("../base")


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where to get it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(DeployError, match=r"^missing: kubectl"):
        rollout.find()
