"""The directory of what is made at run time: certificates, keys, users; for its owner's eyes."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from ws_gateway.exceptions import ConfigurationError

PRIVATE = 0o600
PUBLIC = 0o644
# What neither a database URL nor the printed shell lines would have to quote.
_PATH = re.compile(r"[A-Za-z0-9_./+,@=~-]+")


class LocalDirectory:
    """Files that are written whole or not at all.

    Args:
        directory: Relative to the working directory, as the printed lines will name it.

    Raises:
        ConfigurationError: The path has blanks or other special characters.
    """

    def __init__(self, directory: str) -> None:
        if _PATH.fullmatch(directory) is None:
            raise ConfigurationError(
                "DRAWBRIDGE_LOCAL: must be a path of letters, digits and ._/+,@=~-"
            )
        self._directory = Path(directory)

    def path(self, name: str) -> Path:
        """Return where a file is, or would be."""
        return self._directory / name

    def make(self) -> None:
        """Make the directory, closed to others, unless it exists; then its mode is left alone.

        Raises:
            ConfigurationError: It cannot be made.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from None

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is no such file.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from None

    def write(self, name: str, content: bytes, *, mode: int) -> None:
        """Replace a file in one step; it is never seen half written, nor with another mode.

        Nothing is forced to the disk: what a power cut loses is made anew by the next start.

        Raises:
            ConfigurationError: It cannot be written.
        """
        draft = self.path(f".{name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                draft.replace(self.path(name))
            except OSError:
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> ConfigurationError:
        reason = error.strerror or "input/output error"
        return ConfigurationError(f"DRAWBRIDGE_LOCAL: cannot use {self._directory}: {reason}")
