"""How the stack differs from one that is not watched."""

from __future__ import annotations

import sys
from pathlib import Path

from infra.stack import nginx
from tests.chaos.raw_client import GATEWAY
from tests.chaos.world import _naming, _previous


def test_nginx_says_whom_it_chose() -> None:
    """Beside its own headers, and by the last that it tried."""
    ours = (nginx.SOURCE / "nginx.conf").read_text("utf-8")

    named = _naming(ours, {8011: "gateway-0", 8012: "gateway-1"})

    assert r'map $upstream_addr $chaos_gateway { "~127\.0\.0\.1:8011$" gateway-0; ' in named
    assert f"    add_header {GATEWAY} $chaos_gateway always;\n" in named
    assert set(ours.splitlines()) <= set(named.splitlines())


def test_a_previous_version_is_run_by_our_own_program() -> None:
    """Which imports nothing but the standard library and the package of that version."""
    python, safe, program, *arguments = _previous(
        (sys.executable, "-m", "tests.chaos.hurried", "ws_gateway")
    )

    assert (python, safe, arguments) == (sys.executable, "-P", ["ws_gateway"])
    lines = Path(program).read_text("utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("from tests", "import tests"))]
