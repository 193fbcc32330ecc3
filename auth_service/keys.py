"""Signing keys: their files, their ids and the public set (RFC 7517, RFC 7638).

One PEM file per key in one directory. ``signing-es256.pem`` and ``signing-rs256.pem`` sign; every
other ``*.pem`` there is published and verifies, no more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk
from jose.backends.base import Key

from auth_service.exceptions import ConfigurationError

RSA_BITS = 2048
VARIABLE = "AUTH_KEYS_DIR"
_PUBLIC_MEMBERS = frozenset({"kty", "crv", "x", "y", "n", "e"})


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair.

    Args:
        kid: RFC 7638 thumbprint: the key's content names it, so it cannot collide or be guessed
            wrong.
        algorithm: ``ES256`` or ``RS256``; a key serves one algorithm only (RFC 8725 section 3.1).
        private: Built once: from a PEM text each signature costs a hundred times as much.
        public: The verifying half.
        public_jwk: What the key set shows.
    """

    kid: str
    algorithm: str
    private: Key
    public: Key
    public_jwk: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys of the service.

    Args:
        signing: Signs new tokens.
        by_kid: Every published key, the signing one included.
    """

    signing: SigningKey
    by_kid: Mapping[str, SigningKey]

    def jwks(self) -> bytes:
        """Write the public key set (RFC 7517 section 5), equal bytes for equal keys."""
        keys = [dict(self.by_kid[kid].public_jwk) for kid in sorted(self.by_kid)]
        return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":")).encode()


def load_keys(directory: Path, algorithm: str) -> KeyRing:
    """Load all keys of ``directory`` and make the signing key for ``algorithm`` if it is missing.

    Args:
        directory: Made with mode 0700 if it does not exist.
        algorithm: ``ES256`` or ``RS256``.

    Raises:
        ConfigurationError: The directory cannot be used, or a file in it is open to others, cannot
            be parsed or holds an unsuitable key.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        current = directory / f"signing-{algorithm.lower()}.pem"
        if not current.exists():
            _create(current, algorithm)
        keys = {path.name: _load(path) for path in sorted(directory.glob("*.pem"))}
    except OSError as error:
        raise ConfigurationError(
            f"{VARIABLE}: cannot use {directory}: {error.strerror or 'input/output error'}"
        ) from None
    signing = keys[current.name]
    if signing.algorithm != algorithm:
        raise ConfigurationError(f"{VARIABLE}: {current} holds no key for {algorithm}")
    return KeyRing(signing, MappingProxyType({key.kid: key for key in keys.values()}))


def _create(path: Path, algorithm: str) -> None:
    """Write a new private key, whole or not at all; if another process was faster, keep its key."""
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link is made only if the name is free, so of two starting workers one wins and both
        # load the winner's key.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _load(path: Path) -> SigningKey:
    _refuse_open_file(path)
    pem = path.read_bytes()
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{VARIABLE}: {path} is no unencrypted PEM private key") from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        return _signing_key(pem, "ES256")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= RSA_BITS:
        return _signing_key(pem, "RS256")
    raise ConfigurationError(
        f"{VARIABLE}: {path} holds neither a P-256 key nor an RSA key of {RSA_BITS} bits or more"
    )


def _refuse_open_file(path: Path) -> None:
    status = path.stat()
    # A mounted Kubernetes Secret belongs to root and is readable through its group only; our own
    # file has no reason to be.
    forbidden = 0o077 if status.st_uid == os.geteuid() else 0o037
    if stat.S_IMODE(status.st_mode) & forbidden:
        raise ConfigurationError(f"{VARIABLE}: {path} must be readable by its owner only (0600)")


def _signing_key(pem: bytes, algorithm: str) -> SigningKey:
    private = jwk.construct(pem, algorithm)
    public = private.public_key()
    # to_dict() of a private key shows its private members, and RSA values as bytes in some
    # versions of the library.
    members = {
        name: value.decode() if isinstance(value, bytes) else str(value)
        for name, value in public.to_dict().items()
        if name in _PUBLIC_MEMBERS
    }
    kid = _thumbprint(members)
    published = {**members, "kid": kid, "use": "sig", "alg": algorithm}
    return SigningKey(kid, algorithm, private, public, MappingProxyType(published))


def _thumbprint(members: Mapping[str, str]) -> str:
    """RFC 7638 section 3: the required members, sorted, without white space."""
    canonical = json.dumps(dict(members), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
