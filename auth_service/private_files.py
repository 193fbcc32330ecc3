"""Files that hold secrets: read only while they are closed to others, made whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from auth_service.exceptions import ConfigurationError


def make_directory(path: Path) -> None:
    """Make a directory that only its owner may enter, unless it exists.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def read(path: Path, *, variable: str) -> bytes:
    """Read a secret.

    Args:
        path: The file.
        variable: The setting that is named if the file cannot be used.

    Raises:
        ConfigurationError: Others may read the file.
        OSError: It cannot be read.
    """
    status = path.stat()
    # A mounted Kubernetes Secret belongs to root and is readable through its group only; our own
    # file has no reason to be.
    forbidden = 0o077 if status.st_uid == os.geteuid() else 0o037
    if stat.S_IMODE(status.st_mode) & forbidden:
        raise ConfigurationError(f"{variable}: {path} must be readable by its owner only (0600)")
    return path.read_bytes()


def create(path: Path, content: bytes) -> None:
    """Write a new secret with mode 0600; if another process was faster, its file stays.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link is made only if the name is free, so of two starting workers one wins and both
        # read the winner's file.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
