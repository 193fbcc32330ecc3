"""An issuer's public keys: fetched, checked, kept and found by ``kid`` (RFC 7517).

A key is found by its ``kid`` only and has exactly one algorithm, so that nothing a token says can
choose how it is verified (RFC 8725 section 3.1). Fetching never delays a token whose key is known:

    kid known, set fresh     answered at once
    kid known, set old       answered at once; the set is fetched in the background
    kid unknown              waits for one fetch, shared by all who wait; then no further fetch for
                             the cooldown, however many unknown kids come
    fetch failed             the keys of the last good fetch stay; an unknown kid is KeysUnavailable
                             rather than wrong
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from jose import jwk
from jose.backends.base import Key

from ws_gateway.exceptions import KeysUnavailable

__all__ = ["Fetch", "JWKSCache", "SigningKey", "fetch_document", "parse_key_set"]

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
"""Return the document at a URL, or raise anything."""

MAX_DOCUMENT_BYTES = 65_536
MAX_KEYS = 64

_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_P256_COORDINATE_CHARACTERS = 43  # 32 bytes (RFC 7518 section 6.2.1.2)
_RSA_BITS = range(2048, 8193)  # RFC 7518 section 3.3; longer ones cost an attacker nothing
_RSA_EXPONENTS = range(3, 2**32)
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

# The public members of each key type, and the one algorithm it is used with.
_MEMBERS = {"EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}
_ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key and the one algorithm it verifies.

    Attributes:
        kid: Its name in the key set.
        algorithm: ``ES256`` or ``RS256``.
        key: The prepared key. Building one costs up to a hundred verifications.
        material: The members it was built from, to recognise it in the next key set.
    """

    kid: str
    algorithm: str
    key: Key
    material: tuple[str, ...]


def parse_key_set(
    document: bytes, known: Mapping[str, SigningKey] | None = None
) -> dict[str, SigningKey]:
    """Return the usable signature keys of a JWK Set by ``kid``.

    A key that cannot be used here is passed over, as RFC 7517 section 5 asks: a set may hold keys
    for encryption or of other algorithms. Two keys of one ``kid`` are both passed over.

    Args:
        document: The JSON text.
        known: Keys built before; one that has not changed is taken over as the same object.

    Raises:
        ValueError: This is no JWK Set, or one beyond the limits.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError("the key set is too large")
    parsed = json.loads(str(document, "utf-8"))
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("this is not a key set")  # noqa: TRY004  # wrong data, not a wrong call
    if len(entries) > MAX_KEYS:
        raise ValueError("the key set has too many keys")
    keys: dict[str, SigningKey] = {}
    ambiguous: set[str] = set()
    for entry in entries:
        key = _build_key(entry, known or {})
        if key is None:
            continue
        if key.kid in keys:
            ambiguous.add(key.kid)
        keys[key.kid] = key
    return {kid: key for kid, key in keys.items() if kid not in ambiguous}


def _build_key(entry: object, known: Mapping[str, SigningKey]) -> SigningKey | None:
    """Return the key of one JWK, or None if it is not for verifying our tokens."""
    if not isinstance(entry, dict):
        return None
    kid, kty = entry.get("kid"), entry.get("kty")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        return None
    if not isinstance(kty, str) or kty not in _MEMBERS:
        return None
    algorithm = _ALGORITHMS[kty]
    if entry.get("alg", algorithm) != algorithm or not _is_for_signatures(entry):
        return None
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        # Whoever published this can no longer be told from anybody else.
        return None
    members = {name: str(entry.get(name)) for name in _MEMBERS[kty]}
    if not all(_BASE64URL.fullmatch(value) for value in members.values()):
        return None
    if not (_is_p256(members) if kty == "EC" else _is_strong_rsa(members)):
        return None
    material = tuple(members.values())
    before = known.get(kid)
    if before is not None and before.material == material:
        return before
    try:
        key = jwk.construct(members, algorithm)
    except Exception:  # noqa: BLE001  # a point off the curve, an even modulus: not a key
        return None
    return SigningKey(kid, algorithm, key, material)


def _is_for_signatures(entry: dict[str, Any]) -> bool:
    """Tell whether ``use`` and ``key_ops`` allow it (RFC 7517 sections 4.2 and 4.3)."""
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )


def _is_p256(members: dict[str, str]) -> bool:
    """Bind ES256 to its curve (RFC 7518 section 3.4), which python-jose does not."""
    lengths = {len(members["x"]), len(members["y"])}
    return members["crv"] == "P-256" and lengths == {_P256_COORDINATE_CHARACTERS}


def _is_strong_rsa(members: dict[str, str]) -> bool:
    modulus, exponent = _integer(members["n"]), _integer(members["e"])
    return modulus.bit_length() in _RSA_BITS and exponent in _RSA_EXPONENTS


def _integer(text: str) -> int:
    """Return a Base64urlUInt (RFC 7518 section 2), or 0 if it is none."""
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except (ValueError, binascii.Error):
        return 0


async def fetch_document(url: str) -> bytes:
    """Return the document at ``url``, read by httpx2: no redirects, bounded size.

    A proxy is taken from the environment, but never for this machine itself.

    Raises:
        httpx2.HTTPError: No answer, or one that is not 2xx.
        ValueError: The document is too large.
    """
    # Reading the certificate authorities takes 20 ms and more, which no socket should wait for.
    context = await asyncio.to_thread(httpx2.create_ssl_context)
    direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
    async with (
        httpx2.AsyncClient(verify=context, mounts=direct, follow_redirects=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as response,
    ):
        response.raise_for_status()
        document = bytearray()
        async for chunk in response.aiter_bytes():
            document += chunk
            if len(document) > MAX_DOCUMENT_BYTES:
                raise ValueError("the key set is too large")
        return bytes(document)


class JWKSCache:
    """The keys of one issuer.

    Args:
        url: Where the issuer publishes its key set.
        fetch: How to read it.
        monotonic: A clock that never goes back, in seconds.
        refresh_seconds: Age at which the set is fetched again in the background.
        cooldown_seconds: After a good fetch unknown kids cause no other one for so long.
        retry_seconds: The same after a failed fetch, from which nothing was learnt.
        timeout_seconds: What a fetch may take.
        on_fetch: Told after each fetch whether it was good.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch = fetch_document,
        monotonic: Callable[[], float] = time.monotonic,
        refresh_seconds: float = 300,
        cooldown_seconds: float = 10,
        retry_seconds: float = 1,
        timeout_seconds: float = 5,
        on_fetch: Callable[[bool], None] | None = None,
    ) -> None:
        self.url = url
        self._fetch = fetch
        self._monotonic = monotonic
        self._refresh_seconds = refresh_seconds
        self._cooldown_seconds = cooldown_seconds
        self._retry_seconds = retry_seconds
        self._timeout_seconds = timeout_seconds
        self._on_fetch = on_fetch
        self._keys: dict[str, SigningKey] = {}
        self._task: asyncio.Task[None] | None = None
        self._loaded = False
        self._failed = True
        self._old_at = 0.0
        self._cool_at = float("-inf")
        self._closed = False

    @property
    def loaded(self) -> bool:
        """Whether the set was fetched at least once."""
        return self._loaded

    def cached(self, kid: str) -> SigningKey | None:
        """Return the key without waiting, or None if it is not known now.

        It starts a fetch in the background where the set has become old, so it needs a running
        event loop.
        """
        key = self._keys.get(kid)
        if key is not None and self._monotonic() >= self._old_at:
            self._start()
        return key

    async def find(self, kid: str) -> SigningKey | None:
        """Return the key, or None if the issuer publishes no such key.

        It does not suspend where the key is known. Otherwise it waits for a fetch in a task of its
        own: who waits may be cancelled without harm to the others, and may be driven without
        being a task itself.

        Raises:
            KeysUnavailable: The key is not known and the last fetch failed.
        """
        key = self.cached(kid)
        if key is not None:
            return key
        if self._task is not None or self._monotonic() >= self._cool_at:
            await self.refresh()
        key = self._keys.get(kid)
        if key is None and self._failed:
            raise KeysUnavailable(f"the keys of {self.url} cannot be fetched")
        return key

    async def refresh(self) -> bool:
        """Fetch the set now, or wait for the fetch under way; return whether it was good."""
        task = self._start()
        if task is not None:
            # ``wait`` neither cancels the task when its caller is, nor raises what the task did.
            await asyncio.wait({task})
        return not self._failed

    async def aclose(self) -> None:
        """Stop fetching. Known keys still verify."""
        self._closed = True
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            # A task cancelled before its first step never came to say so itself.
            self._task, self._failed = None, True

    def _start(self) -> asyncio.Task[None] | None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._update(), name="jwks")
        return self._task

    async def _update(self) -> None:
        """Replace the keys by what is published now, or keep them if that cannot be had."""
        self._failed, wait = True, self._retry_seconds
        try:
            async with asyncio.timeout(self._timeout_seconds):
                document = await self._fetch(self.url)
            self._keys = parse_key_set(document, self._keys)
        except Exception as error:  # noqa: BLE001  # whatever it was, the old keys stay
            logger.warning(
                "jwks_fetch_failed", extra={"url": self.url, "error": type(error).__name__}
            )
        else:
            self._loaded, self._failed, wait = True, False, self._cooldown_seconds
        finally:
            now = self._monotonic()
            self._cool_at = now + wait
            self._old_at = now + (wait if self._failed else self._refresh_seconds)
            self._task = None
        if self._on_fetch is not None:
            self._on_fetch(not self._failed)
