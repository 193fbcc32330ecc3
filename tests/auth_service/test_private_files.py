"""Files that hold secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth_service import private_files
from auth_service.exceptions import ConfigurationError


def test_a_slower_process_takes_the_file_of_the_faster(tmp_path: Path) -> None:
    """Even if it appeared after it looked; no draft is left behind."""
    path = tmp_path / "secret"

    private_files.create(path, b"first")
    private_files.create(path, b"second")

    assert private_files.read(path, variable="AUTH_X") == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """One line that names setting and file."""
    path = tmp_path / "secret"
    private_files.create(path, b"first")
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=r"^AUTH_X: .*secret must be readable by"):
        private_files.read(path, variable="AUTH_X")


def test_a_directory_is_for_its_owner(tmp_path: Path) -> None:
    """Made where it is missing, left alone where it is not."""
    private_files.make_directory(tmp_path / "a" / "b")
    private_files.make_directory(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
