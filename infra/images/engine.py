"""What builds and runs images here: docker, or buildah and podman with a store of our own.

buildah needs neither a daemon nor systemd nor cgroups of its own, so it builds on machines that
are containers themselves. Its store is below ``build/images``; images of the system are neither
seen nor touched.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.images.exceptions import ImageError
from infra.stack import programs

STORE = Path("build/images")
# Where Debian, Red Hat and Alpine keep whom a machine trusts.
_AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
_INSIDE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The commands of one engine, up to their own arguments.

    Attributes:
        name: ``docker`` or ``buildah``.
        building: Builds; options and the context follow.
        running: Everything else: ``run``, ``image``, ``push`` and so on.
        confinement: Options of ``run`` that this machine needs.
    """

    name: str
    building: tuple[str, ...]
    running: tuple[str, ...]
    confinement: tuple[str, ...] = ()

    def build(
        self,
        image: str,
        *,
        file: Path,
        context: Path,
        target: str = "",
        arguments: Mapping[str, str] = {},
    ) -> None:
        """Build an image.

        Args:
            image: Name and tag.
            file: The Dockerfile.
            context: What it may copy from.
            target: Its stage; the last one unless given.
            arguments: Values of its ``ARG``.

        Raises:
            ImageError: It failed; the engine has said why.
        """
        command = [*self.building, "--tag", image, "--file", str(file)]
        command += ["--target", target] if target else []
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        if subprocess.run([*command, str(context)], check=False).returncode != 0:  # noqa: S603
            raise ImageError(f"{image} could not be built")

    def has(self, image: str) -> bool:
        """Say whether an image is here."""
        return self._answers("image", "inspect", image)

    def megabytes(self, image: str) -> float:
        """Return an image's size, unpacked."""
        command = [*self.running, "image", "inspect", "--format", "{{.Size}}", image]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return int(done.stdout) / 1e6

    def push(self, image: str) -> None:
        """Send an image to the registry that its name begins with.

        Raises:
            ImageError: It was refused; the engine has said why.
        """
        if subprocess.run([*self.running, "push", image], check=False).returncode != 0:  # noqa: S603
            raise ImageError(f"{image} could not be pushed")

    def run(self, image: str, *options: str, command: Sequence[str] = ()) -> list[str]:
        """Return the command that runs an image the way a restricted pod does.

        Args:
            image: Name and tag.
            options: More options of ``run``.
            command: Its arguments.
        """
        return [
            *(*self.running, "run", "--rm", "--read-only", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges", "--no-healthcheck"),
            *(*self.confinement, *options, image, *command),
        ]

    def _answers(self, *command: str) -> bool:
        return _succeeds([*self.running, *command])


def find(environment: Mapping[str, str] = os.environ) -> Engine:
    """Find an engine; ``STORAGE_DRIVER`` chooses how buildah keeps layers.

    Raises:
        StackError: There is none, and this is not root, who could install one.
    """
    docker = shutil.which("docker")
    if docker and _succeeds([docker, "info"]):
        return Engine(name="docker", building=(docker, "build"), running=(docker,))
    programs.require(programs.IMAGE_PACKAGES)
    store = STORE.absolute()
    driver = environment.get("STORAGE_DRIVER") or _driver(store)
    kept = (
        *("--storage-driver", driver, "--root", str(store / driver)),
        *("--runroot", str(store / driver / "run")),
    )
    return Engine(
        name="buildah",
        building=(
            *(programs.find("buildah"), *kept, "bud", "--isolation", "chroot"),
            # Only this format has health checks.
            *("--format", "docker", "--quiet", *_trust()),
        ),
        running=(
            *(programs.find("podman"), *kept, "--runtime", "runc"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        ),
        # podman's own idea of "read-only" lets /tmp and /run be written.
        confinement=(*_limits(), "--read-only-tmpfs=false"),
    )


def _driver(store: Path) -> str:
    """Choose layers that share files if the file system can do it, else copies of everything."""
    with contextlib.suppress(OSError):
        store.mkdir(parents=True, exist_ok=True)
    root = store / "overlay"
    probe = ["--storage-driver", "overlay", "--root", str(root), "--runroot", str(root / "run")]
    return "overlay" if _succeeds([programs.find("buildah"), *probe, "info"]) else "vfs"


def _trust() -> tuple[str, ...]:
    """Let a build trust whom this machine trusts: its proxy may have an authority of its own."""
    for bundle in _AUTHORITIES:
        if bundle.is_file():
            return ("--volume", f"{bundle.resolve()}:{_INSIDE}:ro")
    return ()


def _limits() -> tuple[str, ...]:
    """Ask for no more than this machine gives: more is refused, and podman's own wish is more."""
    wishes = {"nofile": (resource.RLIMIT_NOFILE, 65_536), "nproc": (resource.RLIMIT_NPROC, 4096)}
    options: list[str] = []
    for name, (kind, wish) in wishes.items():
        _, hard = resource.getrlimit(kind)
        limit = wish if hard == resource.RLIM_INFINITY else min(hard, wish)
        options += ["--ulimit", f"{name}={limit}:{limit}"]
    return tuple(options)


def _succeeds(command: Sequence[str]) -> bool:
    # The words are ours, but for names that the caller typed.
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)  # noqa: S603
    return done.returncode == 0
