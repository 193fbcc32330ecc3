"""Which engine builds, and what it is told; the programs take notes."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from infra.images import engine
from infra.images.engine import Engine
from infra.images.exceptions import ImageError
from infra.stack import programs


class Machine:
    """A machine with the programs that a test gives it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.notes = directory / "notes"
        self.store = directory / "store"
        monkeypatch.setattr(engine, "STORE", self.store)
        monkeypatch.setattr(engine, "_AUTHORITIES", ())
        monkeypatch.setattr(shutil, "which", self.which)
        monkeypatch.setattr(programs, "require", lambda _: None)
        monkeypatch.setattr(programs, "find", lambda name: str(self.bin / name))

    def which(self, name: str) -> str | None:
        """Find a program of this machine."""
        return str(self.bin / name) if (self.bin / name).exists() else None

    def program(self, name: str, text: str = "") -> None:
        """Have a program."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $@" >> {self.notes}\n{text}\n')
        path.chmod(0o755)

    def said(self) -> str:
        """Return the last command."""
        return self.notes.read_text().splitlines()[-1]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With buildah and podman."""
    made = Machine(tmp_path, monkeypatch)
    for name in ("buildah", "podman"):
        made.program(name)
    return made


def test_docker_builds_where_its_engine_runs(machine: Machine) -> None:
    """Its client alone, as on this machine perhaps, builds nothing."""
    machine.program("docker")
    assert engine.find({}).name == "docker"

    machine.program("docker", "exit 1")
    assert engine.find({}).name == "buildah"


def test_buildah_keeps_its_images_apart(machine: Machine) -> None:
    """Those of the system are neither seen nor touched."""
    found = engine.find({})

    for command in (found.building, found.running):
        place = command[command.index("--root") + 1]
        assert place == str(machine.store / "overlay")


@pytest.mark.parametrize(("given", "driver"), [({}, "vfs"), ({"STORAGE_DRIVER": "x"}, "x")])
def test_layers_are_copied_where_they_cannot_be_shared(
    machine: Machine, given: dict[str, str], driver: str
) -> None:
    """A container's own file system is no ground for more of them."""
    machine.program("buildah", "exit 1")

    assert driver in engine.find(given).building


def test_a_build_trusts_whom_the_machine_trusts(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Dockerfile stays as it is."""
    bundle = tmp_path / "bundle.crt"
    bundle.touch()
    monkeypatch.setattr(engine, "_AUTHORITIES", (tmp_path / "none", bundle))

    building = engine.find({}).building

    mount = building[building.index("--volume") + 1]
    assert mount == f"{bundle}:/etc/ssl/certs/ca-certificates.crt:ro"
    assert machine.store.exists()


def test_what_is_built_is_told(machine: Machine) -> None:
    """Name, stage, arguments, file, and the context last."""
    engine.find({}).build(
        "x/y:1", file=Path("F"), context=Path("c"), target="nginx", arguments={"A": "b"}
    )

    assert machine.said().endswith("--tag x/y:1 --file F --target nginx --build-arg A=b c")


def test_failures_are_one_line(machine: Machine) -> None:
    """The engine has said why."""
    found = engine.find({})
    for name in ("buildah", "podman"):
        machine.program(name, "exit 1")

    with pytest.raises(ImageError, match=r"^x could not be built$"):
        found.build("x", file=Path("F"), context=Path("c"))
    with pytest.raises(ImageError, match=r"^x could not be pushed$"):
        found.push("x")
    assert not found.has("x")


def test_what_is_here_has_a_size(machine: Machine) -> None:
    """In megabytes, as people count them."""
    found = engine.find({})
    machine.program("podman", "echo 123456789")

    assert found.has("x")
    assert found.megabytes("x") == pytest.approx(123.456789)
    found.push("x")
    assert machine.said().endswith("push x")


def test_containers_run_as_restricted_pods_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ask for no more than the machine gives."""
    limits = {resource.RLIMIT_NOFILE: (10, 20), resource.RLIMIT_NPROC: (-1, -1)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)

    command = engine.find({}).run("x", "--network", "host", command=["serve"])

    text = " ".join(command)
    assert "--read-only --cap-drop all --security-opt no-new-privileges" in text
    assert "--ulimit nofile=20:20" in text
    assert "--ulimit nproc=4096:4096" in text
    assert "--read-only-tmpfs=false" in text
    assert text.endswith("--network host x serve")
    assert machine.bin.exists()


def test_docker_needs_no_limits() -> None:
    """Its daemon has them."""
    docker = Engine(name="docker", building=("docker", "build"), running=("docker",))

    assert "--ulimit" not in docker.run("x")
