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


def test_every_test_has_its_module() -> None:
    """A test whose source has moved would be looked for in vain."""
    orphans = mirror() - {twin(module) for module in modules()}

    assert not sorted(map(str, orphans))


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
