"""Files that are whole, private, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.embedded.local_directory import PRIVATE, PUBLIC, LocalDirectory
from ws_gateway.exceptions import ConfigurationError


@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC])
def test_a_file_is_replaced_with_its_mode(tmp_path: Path, mode: int) -> None:
    """Whatever mode the old one had."""
    local = LocalDirectory(str(tmp_path))
    local.path("file").write_bytes(b"old")
    local.path("file").chmod(0o666)

    local.write("file", b"new", mode=mode)

    assert local.read("file") == b"new"
    assert local.path("file").stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_is_left_as_it_was(tmp_path: Path) -> None:
    """And no draft stays behind."""
    local = LocalDirectory(str(tmp_path))
    local.path("file").mkdir()

    with pytest.raises(ConfigurationError, match=r"^DRAWBRIDGE_LOCAL: cannot use .*directory$"):
        local.write("file", b"new", mode=PRIVATE)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_directory_is_made_closed_to_others(tmp_path: Path) -> None:
    """One that exists may be shared: its mode is not ours to change."""
    tmp_path.chmod(0o755)
    LocalDirectory(str(tmp_path)).make()
    assert tmp_path.stat().st_mode & 0o777 == 0o755

    LocalDirectory(str(tmp_path / "a" / "b")).make()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_what_is_not_there_reads_as_none_and_what_is_no_file_stops(tmp_path: Path) -> None:
    """A missing file is made; anything else is for the operator to see."""
    local = LocalDirectory(str(tmp_path))
    local.path("folder").mkdir()

    assert local.read("missing") is None
    with pytest.raises(ConfigurationError):
        local.read("folder")


@pytest.mark.parametrize("path", ["a b", "a'b", "a$b", "a:b", "a?b", "a\nb", ""])
def test_a_path_that_a_shell_would_read_otherwise_is_refused(path: str) -> None:
    """It goes into printed lines and into a database URL."""
    with pytest.raises(ConfigurationError, match=r"^DRAWBRIDGE_LOCAL: "):
        LocalDirectory(path)
