"""The index lists the examples, and their commands name what exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
COMMAND = r"--app-dir docs/examples (\w+):app --port (\d+)"


def text(example: Path) -> str:
    """Return an example's own words."""
    return ast.get_docstring(ast.parse(example.read_text("utf-8"))) or ""


def test_the_index_lists_every_example_once() -> None:
    """And nothing else."""
    index = (ROOT / "docs" / "examples" / "README.md").read_text("utf-8")

    listed = re.findall(r"^\| \[(\w+\.py)\]\((\w+\.py)\) \|", index, re.MULTILINE)

    assert sorted(listed) == [(example.name, example.name) for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_commands_name_files_that_exist(example: Path) -> None:
    """Every text has a command that runs its own file, and no command runs none."""
    files = re.findall(r"docs/examples/(\w+\.py)", text(example))
    applications = [f"{name}.py" for name, _ in re.findall(COMMAND, text(example))]

    assert example.name in {*files, *applications}
    assert all((example.parent / name).is_file() for name in files)


def test_every_endpoint_is_started_and_called_as_its_text_says() -> None:
    """Its own name, a port of its own, and a path that it has."""
    ports: list[str] = []
    endpoints = [example for example in EXAMPLES if "FastAPI()" in example.read_text("utf-8")]
    for example in endpoints:
        application = importlib.import_module(f"docs.examples.{example.stem}").app
        ((name, port),) = re.findall(COMMAND, text(example))
        ports.append(port)
        called = re.findall(r"ws://127\.0\.0\.1:(\d+)(/\w+)", text(example))

        assert name == example.stem
        assert called
        assert {number for number, _ in called} == {port}
        assert {path for _, path in called} <= {route.path for route in application.routes}
    assert len(ports) == len(set(ports)) > 0
