"""``python -m infra.deploy``."""

from __future__ import annotations

import pytest

from infra.deploy import __main__ as program, rollout
from infra.images import build, engine


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been done."""
    notes: list[str] = []

    def note(name: str) -> object:
        return lambda *_, **__: notes.append(name)

    for name in ("REGISTRY", "TAG", "OVERLAY", "BUILT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(rollout, "find", lambda: None)
    orders = ("require_secrets", "deploy", "undeploy")
    for module, names in ((build, ("build", "push")), (rollout, orders)):
        for name in names:
            monkeypatch.setattr(module, name, note(name))
    return notes


def test_images_are_where_the_nodes_get_them_before_they_are_asked_for(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cluster lacks is said first; then they are built, pushed, applied."""
    monkeypatch.setenv("REGISTRY", "registry.example")
    monkeypatch.setenv("TAG", "1.2.3")

    assert program.main(["deploy"]) == 0
    assert told == ["require_secrets", "build", "push", "deploy"]


def test_what_the_registry_has_is_not_made_again(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way back: today's code must not be pushed under yesterday's tag."""
    monkeypatch.setenv("REGISTRY", "registry.example")
    monkeypatch.setenv("TAG", "1.2.2")
    monkeypatch.setenv("BUILT", "1")

    assert program.main(["deploy"]) == 0
    assert told == ["require_secrets", "deploy"]

    monkeypatch.setenv("BUILT", "no")
    assert program.main(["deploy"]) == 1
    assert capsys.readouterr().err.startswith("BUILT: must be 1")


@pytest.mark.parametrize("missing", ["REGISTRY", "TAG"])
def test_a_version_has_a_name(
    told: list[str],
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line names the variable."""
    for name in {"REGISTRY", "TAG"} - {missing}:
        monkeypatch.setenv(name, "x")

    assert program.main(["deploy"]) == 1
    assert capsys.readouterr().err.startswith(f"{missing}: needed")
    assert told == []


def test_undeploy_needs_no_version(told: list[str]) -> None:
    """Nothing is built."""
    assert program.main(["undeploy"]) == 0
    assert told == ["undeploy"]


def test_secrets_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """And kept nowhere."""
    assert program.main(["secrets"]) == 0
    assert capsys.readouterr().out.count("kind: Secret") == 8


def test_an_unknown_overlay_is_one_line(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is built."""
    monkeypatch.setenv("OVERLAY", "moon")

    assert program.main(["undeploy"]) == 1
    assert capsys.readouterr().err == "OVERLAY: must be one of dev, production\n"
    assert told == []
