"""The base: what is bootstrapped, and what is built on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.images import base
from infra.images.engine import Engine
from infra.images.exceptions import ImageError
from infra.stack import programs


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose programs take notes; the engine's shows its Dockerfile too."""
    written = tmp_path / "notes"
    scripts = {
        "mmdebstrap": f'echo "mmdebstrap $@" >> {written}',
        "engine": f'echo "engine $@" >> {written}; cat "$4" >> {written}',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(programs, "require", lambda _: None)
    monkeypatch.setattr(programs, "find", lambda name: str(tmp_path / name))
    return written


def engine(notes: Path) -> Engine:
    """Return the engine of that machine."""
    program = str(notes.parent / "engine")
    return Engine(name="buildah", building=(program,), running=(program,))


def test_python_stands_on_debian(notes: Path) -> None:
    """One bootstrap, two images, and nothing in them that nobody reads."""
    base.make(engine(notes))

    text = notes.read_text()
    assert text.count("mmdebstrap") == 1
    assert "path-exclude=/usr/share/doc/*" in text
    assert text.index(f"--tag {base.DEBIAN}") < text.index(f"--tag {base.PYTHON}")
    assert f"FROM {base.DEBIAN}\n" in text


def test_without_packages_there_is_no_image(notes: Path) -> None:
    """The program has said why."""
    (notes.parent / "mmdebstrap").write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(ImageError, match=r"^the base image could not be made$"):
        base.make(engine(notes))

    assert not notes.exists()
