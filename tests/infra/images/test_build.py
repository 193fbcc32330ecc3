"""Our images: what they are called, and what they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from infra.images import base, build
from infra.images.build import Names, names
from infra.images.engine import Engine
from infra.images.exceptions import ImageError


@dataclass
class Notes:
    """An engine that takes notes."""

    here: set[str] = field(default_factory=set)
    built: list[dict[str, Any]] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)

    def has(self, image: str) -> bool:
        """Say whether it has an image."""
        return image in self.here

    def megabytes(self, _: str) -> float:
        """Return a size."""
        return 1.0

    def build(self, image: str, **options: object) -> None:
        """Take a note."""
        self.built.append({"image": image, **options})

    def push(self, image: str) -> None:
        """Take a note."""
        self.pushed.append(image)


def bases(notes: Notes, environment: Mapping[str, str] = {}) -> dict[str, str]:
    """Build, and return the arguments that name a base."""
    build.build(cast(Engine, notes), Names(), environment)
    arguments: dict[str, str] = notes.built[0]["arguments"]
    return {name: value for name, value in arguments.items() if name.endswith("_IMAGE")}


def test_all_images_have_one_registry_and_one_tag(capsys: pytest.CaptureFixture[str]) -> None:
    """And their sizes are told."""
    notes = Notes()

    build.build(cast(Engine, notes), Names("registry.example:5000/team", "1.2.3"), {})

    assert [entry["image"] for entry in notes.built] == [
        "registry.example:5000/team/drawbridge/auth-service:1.2.3",
        "registry.example:5000/team/drawbridge/ws-gateway:1.2.3",
        "registry.example:5000/team/drawbridge/nginx:1.2.3",
        "registry.example:5000/team/drawbridge/canary:1.2.3",
    ]
    assert [entry["target"] for entry in notes.built] == list(build.TARGETS)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_what_they_are_says_the_version() -> None:
    """And the commit, as far as there is one."""
    notes = Notes()
    build.build(cast(Engine, notes), Names(), {})

    arguments = notes.built[0]["arguments"]
    assert arguments["VERSION"] == "0.1.0"
    assert arguments["REVISION"]


def test_they_stand_on_the_local_base_if_there_is_one() -> None:
    """Unless told otherwise; and on the official images if there is none."""
    assert bases(Notes()) == {}
    assert bases(Notes({base.PYTHON, base.DEBIAN})) == {
        "BASE_IMAGE": base.PYTHON,
        "NGINX_BASE_IMAGE": base.DEBIAN,
    }
    assert bases(Notes({base.PYTHON}), {"BASE_IMAGE": "mine:1"}) == {"BASE_IMAGE": "mine:1"}


def test_all_are_pushed() -> None:
    """A cluster needs all of them."""
    notes = Notes()

    build.push(cast(Engine, notes), Names("registry.example", "1"))

    assert notes.pushed == [f"registry.example/drawbridge/{name}:1" for name in build.TARGETS]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("REGISTRY", text) for text in ("Registry.example", "a b", "/x", "x/", "--x")),
        *(("TAG", text) for text in ("latest", "a/b", "-x", "a:b", "x" * 129)),
    ],
)
def test_names_that_are_none_are_refused(variable: str, value: str) -> None:
    """The line names the variable; a hyphen in front would be an option."""
    with pytest.raises(ImageError, match=f"^{variable}: "):
        names({variable: value})


def test_a_name_is_not_needed() -> None:
    """On one's own machine."""
    assert names({"REGISTRY": "", "TAG": ""}).image("nginx") == "localhost/drawbridge/nginx:dev"


def test_nothing_but_what_is_named_gets_into_a_build() -> None:
    """A working copy has keys, passwords and databases."""
    lines = Path(".dockerignore").read_text().splitlines()

    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not [line for line in lines if line.startswith("!") and "." in line.split("/")[0]]


def test_the_stages_are_the_images() -> None:
    """Each by its name."""
    text = build.DOCKERFILE.read_text("utf-8")

    for target in build.TARGETS:
        assert f" AS {target}\n" in text
