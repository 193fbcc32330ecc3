"""``python -m infra.images``."""

from __future__ import annotations

import pytest

from infra.images import __main__ as program, base, build, engine
from infra.stack.exceptions import StackError


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been done."""
    notes: list[str] = []
    monkeypatch.delenv("TAG", raising=False)
    monkeypatch.delenv("REGISTRY", raising=False)
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(base, "make", lambda _: notes.append("base"))
    monkeypatch.setattr(build, "build", lambda *_: notes.append("build"))
    monkeypatch.setattr(build, "push", lambda *_: notes.append("push"))
    return notes


@pytest.mark.parametrize("order", ["base", "build", "push"])
def test_each_order_does_one_thing(told: list[str], order: str) -> None:
    """Its own."""
    assert program.main([order]) == 0
    assert told == [order]


def test_a_wrong_name_is_one_line(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is built."""
    monkeypatch.setenv("TAG", "latest")

    assert program.main(["build"]) == 1
    assert capsys.readouterr().err == "TAG: latest says nothing; name the version\n"
    assert told == []


def test_a_missing_program_is_one_line(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to type."""

    def fail() -> None:
        raise StackError("missing: buildah; as root: apt-get install buildah")

    monkeypatch.setattr(engine, "find", fail)

    assert program.main(["build"]) == 1
    assert capsys.readouterr().err.startswith("missing: buildah")
    assert told == []
