"""Our images: their names, and how they are built and sent away."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auth_service import __version__
from infra.images import base
from infra.images.engine import Engine
from infra.images.exceptions import ImageError

DOCKERFILE = Path("infra/docker/Dockerfile")
#: What every cluster runs.
SERVING = ("auth-service", "ws-gateway", "nginx")
#: And what a component adds.
TARGETS = (*SERVING, "canary")
_REPOSITORY = "drawbridge"
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Names:
    """What the images are called.

    Args:
        registry: Host, port and path before our own names.
        tag: The version.

    Raises:
        ImageError: One of them is no part of an image's name.
    """

    registry: str = "localhost"
    tag: str = "dev"

    def __post_init__(self) -> None:
        if not _REGISTRY.fullmatch(self.registry):
            raise ImageError("REGISTRY: must be host[:port][/path], in small letters")
        if not _TAG.fullmatch(self.tag):
            raise ImageError("TAG: must be letters, digits, dots, hyphens and underscores")
        if self.tag == "latest":
            raise ImageError("TAG: latest says nothing; name the version")

    def repository(self, target: str) -> str:
        """Return an image's name without its tag."""
        return f"{self.registry}/{_REPOSITORY}/{target}"

    def image(self, target: str) -> str:
        """Return an image's name."""
        return f"{self.repository(target)}:{self.tag}"


def names(environment: Mapping[str, str]) -> Names:
    """Read ``REGISTRY`` and ``TAG``.

    Raises:
        ImageError: One of them is wrong.
    """
    return Names(environment.get("REGISTRY") or "localhost", environment.get("TAG") or "dev")


def build(engine: Engine, names: Names, environment: Mapping[str, str]) -> None:
    """Build all of them; ``BASE_IMAGE`` and ``NGINX_BASE_IMAGE`` replace what they stand on.

    Unless told, they stand on what ``make base-image`` made, if it did, and else on the official
    images.

    Raises:
        ImageError: One of them cannot be built.
    """
    arguments = {"VERSION": __version__, "REVISION": _revision()}
    for variable, local in (("BASE_IMAGE", base.PYTHON), ("NGINX_BASE_IMAGE", base.DEBIAN)):
        given = environment.get(variable) or (local if engine.has(local) else "")
        if given:
            arguments[variable] = given
    for target in TARGETS:
        engine.build(
            names.image(target),
            file=DOCKERFILE,
            context=Path(),
            target=target,
            arguments=arguments,
        )
        print(f"{names.image(target)}  {engine.megabytes(names.image(target)):.0f} MB", flush=True)


def push(engine: Engine, names: Names) -> None:
    """Send all of them to their registry.

    Raises:
        ImageError: One of them was refused.
    """
    for target in TARGETS:
        engine.push(names.image(target))


def _revision() -> str:
    """Name the commit that is built, as far as there is one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
