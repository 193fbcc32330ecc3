"""The generated pages are what the code would generate now."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from ws_gateway.channel_options import ChannelOptions

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def generate() -> ModuleType:
    """The program behind `make docs`."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_up_to_date(generate: ModuleType) -> None:
    """`make docs` would change nothing: each setting has its line, each line its setting."""
    assert (DOCS / "settings.md").read_text("utf-8") == generate.page()


def test_the_options_of_channels_are_up_to_date(generate: ModuleType) -> None:
    """Each option has its line, each line its option."""
    page = (DOCS / "channels.md").read_text("utf-8")

    assert page == generate.channels(page)
    for field in fields(ChannelOptions):
        assert page.count(f"\n| `{field.name}` | ") == 1
