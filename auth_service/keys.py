"""Signing keys: their ids, their times, the public set (RFC 7517, RFC 7638), and keys in files.

A key is *pending* (published, not used), *active* (signs), *retired* (published, verifies) and then
*removed*; or *revoked*, at any moment. Its times say which, so all processes go on together.

As files, there is one PEM file per key in one directory. ``signing-es256.pem`` and
``signing-rs256.pem`` sign; every other ``*.pem`` there is published and verifies, no more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk
from jose.backends.base import Key

from auth_service import private_files
from auth_service.exceptions import ConfigurationError

RSA_BITS = 2048
VARIABLE = "AUTH_KEYS_DIR"
#: How long anybody may keep the public set without asking again.
JWKS_MAX_AGE_SECONDS = 300
State = Literal["pending", "active", "retired", "removed", "revoked"]
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

    def at(self, _now: float) -> KeyRing:
        """Return itself: keys in files do not change while the service runs."""
        return self

    def jwks(self) -> bytes:
        """Write the public key set (RFC 7517 section 5), equal bytes for equal keys."""
        keys = [dict(self.by_kid[kid].public_jwk) for kid in sorted(self.by_kid)]
        return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":")).encode()


class KeySource(Protocol):
    """Where the keys of a moment come from."""

    def at(self, now: float, /) -> KeyRing:
        """Return the keys that sign and verify now; the same object while nothing changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedKey:
    """A key and its times, in seconds since 1970.

    Args:
        key: The key.
        created_at: When it was made.
        activates_at: From when on it signs, until another one does.
        removes_at: From when on it is published no more; None while it has no successor.
        revoked_at: When it was revoked.
    """

    key: SigningKey
    created_at: int
    activates_at: int
    removes_at: int | None = None
    revoked_at: int | None = None

    def published(self, now: float) -> bool:
        """Say whether the key set shows it."""
        return self.revoked_at is None and (self.removes_at is None or now < self.removes_at)


class KeyCalendar:
    """Keys with their times.

    Args:
        keys: At least one of them published, whenever it is asked.
    """

    def __init__(self, keys: Iterable[DatedKey]) -> None:
        order = sorted(keys, key=lambda one: (one.activates_at, one.created_at, one.key.kid))
        self.keys: Sequence[DatedKey] = tuple(order)
        moments = {one.activates_at for one in order}
        moments |= {one.removes_at for one in order if one.removes_at is not None}
        self._moments = sorted(moments)
        self._ring: KeyRing | None = None
        self._begin = self._end = 0.0

    def at(self, now: float) -> KeyRing:
        """Return the keys that sign and verify now.

        Raises:
            LookupError: None is published.
        """
        if self._ring is None or not self._begin <= now < self._end:
            index = bisect_right(self._moments, now)
            self._begin = self._moments[index - 1] if index else -math.inf
            self._end = self._moments[index] if index < len(self._moments) else math.inf
            published = [one.key for one in self.keys if one.published(now)]
            by_kid = MappingProxyType({key.kid: key for key in published})
            self._ring = KeyRing(self._active(now).key, by_kid)
        return self._ring

    def states(self, now: float) -> list[tuple[DatedKey, State]]:
        """Return every key and its state."""
        return [(one, self._state(one, now)) for one in self.keys]

    def _active(self, now: float) -> DatedKey:
        published = [one for one in self.keys if one.published(now)]
        if not published:
            raise LookupError("there is no signing key")
        # Before the first one's time, for a clock may be behind, the first one signs.
        return next((one for one in reversed(published) if one.activates_at <= now), published[0])

    def _state(self, one: DatedKey, now: float) -> State:
        if one.revoked_at is not None:
            return "revoked"
        if not one.published(now):
            return "removed"
        if one is self._active(now):
            return "active"
        return "pending" if now < one.activates_at else "retired"


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
        private_files.make_directory(directory)
        current = directory / _file_name(algorithm)
        if not current.exists():
            private_files.create(current, new_pem(algorithm))
    except OSError as error:
        raise _unusable(directory, error) from None
    keys = {name: from_pem(pem) for name, pem in read_files(directory).items()}
    signing = keys[current.name]
    if signing.algorithm != algorithm:
        raise ConfigurationError(f"{VARIABLE}: {current} holds no key for {algorithm}")
    return KeyRing(signing, MappingProxyType({key.kid: key for key in keys.values()}))


def read_files(directory: Path) -> dict[str, bytes]:
    """Read all key files by name; there may be none.

    Raises:
        ConfigurationError: One is open to others, cannot be parsed or holds an unsuitable key.
    """
    try:
        return {path.name: _read(path) for path in sorted(directory.glob("*.pem"))}
    except OSError as error:
        raise _unusable(directory, error) from None


def signs_for(name: str, algorithm: str) -> bool:
    """Say whether the key of this file is the one that signs with an algorithm."""
    return name == _file_name(algorithm)


def _file_name(algorithm: str) -> str:
    return f"signing-{algorithm.lower()}.pem"


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    reason = error.strerror or "input/output error"
    return ConfigurationError(f"{VARIABLE}: cannot use {directory}: {reason}")


def new_pem(algorithm: str) -> bytes:
    """Make a private key, whose ``kid`` does not begin with ``-``.

    One in 64 would; an operator's command line takes that for an option.
    """
    while from_pem(pem := _random_pem(algorithm)).kid.startswith("-"):
        pass
    return pem


def _random_pem(algorithm: str) -> bytes:
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(path: Path) -> bytes:
    pem = private_files.read(path, variable=VARIABLE)
    try:
        check_pem(pem)
    except ValueError as error:
        raise ConfigurationError(f"{VARIABLE}: {path} {error}") from None
    return pem


def check_pem(pem: bytes) -> None:
    """Check that a text is a private key that we sign with.

    Raises:
        ValueError: It is none; the message continues the file's name.
    """
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no unencrypted PEM private key") from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        return
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= RSA_BITS:
        return
    raise ValueError(f"holds neither a P-256 key nor an RSA key of {RSA_BITS} bits or more")


def from_pem(pem: bytes) -> SigningKey:
    """Build a key from the text of one that `new_pem` made or `check_pem` accepted."""
    loaded = serialization.load_pem_private_key(pem, password=None)
    algorithm = "ES256" if isinstance(loaded, ec.EllipticCurvePrivateKey) else "RS256"
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
