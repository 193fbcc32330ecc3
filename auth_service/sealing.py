"""Secrets of the service: what is stored sealed under them and what is derived from them.

A sealed value is ``version (1) | key id (4) | nonce (12) | AES-256-GCM``. What it is for is bound
to it, so a sealed value that was moved to another row does not open.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from auth_service import private_files
from auth_service.exceptions import ConfigurationError

VARIABLE = "AUTH_SEALING_KEYS"
KEY_BYTES = 32
FILE_NAME = "sealing.key"
_VERSION = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _ID_BYTES
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?")


class SecretKeys:
    """The sealing keys: the first one seals, all of them open.

    Args:
        keys: Of 32 random bytes each, at least one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        self._derived: dict[str, tuple[bytes, ...]] = {}
        ids = self.derive("sealing-key-id")
        self._ciphers = {
            key_id[:_ID_BYTES]: AESGCM(key)
            for key_id, key in zip(ids, self.derive("sealing"), strict=True)
        }
        self._first_id = ids[0][:_ID_BYTES]

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Encrypt a value with the first key.

        Args:
            plain: The secret.
            aad: What it is and whose: the same is needed to open it.
        """
        header = _VERSION + self._first_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + self._ciphers[self._first_id].encrypt(nonce, plain, header + aad)

    def open(self, blob: bytes, aad: bytes) -> bytes:
        """Decrypt a value with the key that sealed it.

        Raises:
            ConfigurationError: That key is not among ours, or the value was changed or moved.
        """
        header, nonce = blob[:_HEADER_BYTES], blob[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        if len(nonce) < _NONCE_BYTES or not header.startswith(_VERSION):
            raise ConfigurationError(f"{VARIABLE}: a sealed value has an unknown format")
        cipher = self._ciphers.get(header[len(_VERSION) :])
        if cipher is None:
            raise ConfigurationError(
                f"{VARIABLE}: none of the keys opens what the database holds sealed"
            )
        try:
            return cipher.decrypt(nonce, blob[_HEADER_BYTES + _NONCE_BYTES :], header + aad)
        except InvalidTag:
            raise ConfigurationError(
                f"{VARIABLE}: a sealed value was changed or belongs elsewhere"
            ) from None

    def sealed_by_first(self, blob: bytes) -> bool:
        """Say whether a value is under the first key, so that older ones can go."""
        return blob[:_HEADER_BYTES] == _VERSION + self._first_id

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Return a secret of 32 bytes per key for one purpose: make with the first, check with all.

        Args:
            purpose: A word of this package, such as ``refresh-token``; never of a request, because
                the answers are kept.
        """
        found = self._derived.get(purpose)
        if found is None:
            info = f"drawbridge auth {purpose}".encode()
            found = tuple(
                HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
                for key in self._keys
            )
            self._derived[purpose] = found
        return found


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Read keys separated by commas.

    Raises:
        ValueError: One is not 32 bytes in base64url, or comes twice; the message shows none.
    """
    keys = []
    for entry in text.split(","):
        word = entry.strip()
        if _KEY.fullmatch(word) is None:
            raise ValueError("must be base64url keys of 32 bytes, separated by commas")
        try:
            keys.append(base64.urlsafe_b64decode(word.rstrip("=") + "="))
        except binascii.Error:
            raise ValueError("must be base64url keys of 32 bytes, separated by commas") from None
    if len(set(keys)) != len(keys):
        raise ValueError("holds the same key twice")
    return tuple(keys)


def new_key() -> str:
    """Make a key as `parse_keys` reads it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()


def load_secret_keys(text: str, directory: Path, *, make: bool = True) -> SecretKeys:
    """Return the keys of the setting, or those of ``sealing.key``, made on the first start.

    Args:
        text: The setting; empty: the file counts.
        directory: Where the file is, made with mode 0700 if it does not exist.
        make: Whether the file is made if it does not exist. Lost with a container's file system,
            it takes all signing keys with it.

    Raises:
        ConfigurationError: The keys are malformed, or the file cannot be used.
    """
    variable, where = VARIABLE, ""
    try:
        if not text:
            path = directory / FILE_NAME
            where = f"{path}: "
            if make:
                private_files.make_directory(directory)
            if make and not path.exists():
                private_files.create(path, (new_key() + "\n").encode())
            text = private_files.read(path, variable=variable).decode("ascii").strip()
        return SecretKeys(parse_keys(text))
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: not set, and {where}{error.strerror or 'input/output error'}"
        ) from None
    except ValueError as error:
        reason = "is no text" if isinstance(error, UnicodeError) else error
        raise ConfigurationError(f"{variable}: {where}{reason}") from None
