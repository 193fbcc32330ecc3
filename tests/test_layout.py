"""Tests mirror the source: to find the test of anything, prefix the path."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
MIRRORED = ("auth_service", "ws_gateway", "infra")


def modules() -> set[Path]:
    """List what has a test: every module, but the packages' own and what is generated."""
    return {
        path.relative_to(ROOT)
        for package in MIRRORED
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
        and "migrations" not in path.parts
        and not path.stem.endswith("_pb2")
    }


def twin(module: Path) -> Path:
    """Name the test of a module; ``__main__`` is tested by ``test_main``."""
    return module.with_name(f"test_{module.stem.strip('_')}.py")


def mirror() -> set[Path]:
    """List the tests that have a source."""
    return {
        path.relative_to(TESTS)
        for package in MIRRORED
        for path in (TESTS / package).rglob("test_*.py")
    }


def test_every_module_has_its_test() -> None:
    """A module without one would be found untested only when it breaks."""
    missing = {twin(module) for module in modules()} - mirror()

    assert not sorted(map(str, missing))


def is_part(test: Path, twins: set[Path]) -> bool:
    """Say whether a test goes on where a module's own ends: ``test_NAME_BEHAVIOUR.py``."""
    words = test.stem.split("_")
    return any(
        test.with_name("_".join(words[:count]) + ".py") in twins for count in range(2, len(words))
    )


def test_every_test_has_its_module() -> None:
    """A test whose source has moved would be looked for in vain."""
    twins = {twin(module) for module in modules()}
    orphans = {test for test in mirror() - twins if not is_part(test, twins)}

    assert not sorted(map(str, orphans))


@pytest.mark.parametrize(
    ("test", "part"),
    [
        ("ws_gateway/test_connection_bare.py", True),
        ("ws_gateway/test_connection_slow_reader.py", True),
        ("ws_gateway/test_connections.py", False),
        ("ws_gateway/broker/test_connection_bare.py", False),
    ],
)
def test_a_long_test_is_cut_by_behaviour(test: str, part: bool) -> None:
    """Each part begins with the name of what it tests, and lies beside it."""
    assert is_part(Path(test), {Path("ws_gateway/test_connection.py")}) is part


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("ws_gateway/hub.py", "ws_gateway/test_hub.py"),
        ("ws_gateway/broker/base.py", "ws_gateway/broker/test_base.py"),
        ("ws_gateway/__main__.py", "ws_gateway/test_main.py"),
    ],
)
def test_twin_lies_at_the_same_path(module: str, test: str) -> None:
    """The rule, by example."""
    assert twin(Path(module)) == Path(test)


def test_the_mirror_sees_something() -> None:
    """A wrong root would make the other tests pass on nothing."""
    assert Path("ws_gateway/session.py") in modules()
    assert Path("ws_gateway/test_session.py") in mirror()
