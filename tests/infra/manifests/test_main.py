"""``python -m infra.manifests``."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.manifests import __main__ as program, build, edge, front, pins, rules, schemas
from infra.manifests.documents import Documents
from infra.manifests.exceptions import ManifestError
from tests.infra.manifests.sample import Build


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kustomize builds the sample, whatever it is asked for."""
    monkeypatch.setattr(build, "TARGET", tmp_path)
    monkeypatch.setattr(build, "find", lambda: ("kustomize",))
    monkeypatch.setattr(build, "build", lambda *_: "")
    monkeypatch.setattr(build, "read", lambda _: Build().documents)
    monkeypatch.setattr(schemas, "problems", lambda _: [])
    monkeypatch.setattr(edge, "problems", lambda *_: [])
    monkeypatch.setattr(program, "_styled", lambda: True)


def test_all_overlays_and_components_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    assert program.main(["check"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *build.OVERLAYS,
        *(f"production-{name}" for name in build.OPTIONAL),
    ]
    assert all(line.endswith(" 0 problems") for line in lines)


def test_a_problem_is_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a line that says in which build it is."""
    spoilt = Build()
    spoilt.drop("ConfigMap", "channels")
    monkeypatch.setattr(build, "read", lambda _: Documents(spoilt.all))

    assert program.main(["check"]) == 1
    assert "dev: ws-gateway: there is no ConfigMap channels\n" in capsys.readouterr().err


def test_what_cannot_be_built_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback."""

    def fail(*_: object) -> str:
        raise ManifestError("k8s/overlays/dev: no such file")

    monkeypatch.setattr(build, "build", fail)

    assert program.main(["check"]) == 1
    assert capsys.readouterr().err == "k8s/overlays/dev: no such file\n"


def test_style_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as a key that is there twice."""
    monkeypatch.setattr(program, "_styled", lambda: False)

    assert program.main(["check"]) == 1
    assert "yamllint" in capsys.readouterr().err


def test_the_front_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each variant of it, by its name."""
    monkeypatch.setattr(edge, "problems", lambda variant, _: [f"{variant} is wrong"])

    assert program.main(["check"]) == 1
    said = capsys.readouterr().err
    assert [f"nginx/, {name}: {name} is wrong" for name in edge.VARIANTS] == said.splitlines()


def test_without_kustomize_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be looked at without it has been."""
    monkeypatch.setattr(build, "find", lambda: None)

    assert program.main(["check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_pinning_says_what_it_has_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is no failure where no registry answers: the tags are as good as before."""
    monkeypatch.setattr(pins, "pin", lambda *_: iter(["Not pinned: redis:7 (nobody)"]))

    assert program.main(["pin"]) == 0
    assert capsys.readouterr().out == "Not pinned: redis:7 (nobody)\n"


def test_writing_is_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own, before the check."""
    written = []
    monkeypatch.setattr(front, "write_all", lambda: written.append("front"))
    monkeypatch.setattr(rules, "write", lambda: written.append("rules"))

    assert program.main(["write"]) == 0
    assert written == ["front", "rules"]
