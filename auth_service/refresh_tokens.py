"""The texts of refresh tokens: how each follows from the one before, and what proves it genuine.

A session's tokens are a chain. Its first link is random, and every further one a keyed hash of the
one before, so that the successor of a token can be made again for a client that lost the answer,
and nothing that is worth stealing is stored for that. A text is

    rt_SID.GENERATION.CHAIN.MAC

The mac tells a token that was once good, and now betrays a thief, from a text that somebody made
up around a ``sid``, which is no secret: only the former may end a session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PREFIX = "rt_"
_CHAIN_BYTES = 32
_MAC_BYTES = 16
# The longest number of a generation has ten digits: the column holds no more.
_SHAPE = re.compile(
    r"rt_([A-Za-z0-9_-]{1,64})\.([1-9][0-9]{0,9})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{22})"
)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A token whose mac is right: it was made here.

    Args:
        sid: The session's id.
        generation: How many came before it, itself included.
        chain: Its link.
        text: What the client presents.
    """

    sid: str
    generation: int
    chain: bytes
    text: str

    @property
    def hash(self) -> str:
        """What is stored of it: plain SHA-256, for 256 random bits cannot be guessed."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class RefreshTokens:
    """Makes and reads them.

    Args:
        chain_keys: Keys of the chain; the first one is for making.
        mac_keys: Keys of the mac, as many; the first one is for making.
    """

    def __init__(self, *, chain_keys: Sequence[bytes], mac_keys: Sequence[bytes]) -> None:
        self._chain_keys = tuple(chain_keys)
        self._mac_keys = tuple(mac_keys)

    def first(self, sid: str) -> RefreshToken:
        """Make the first token of a session."""
        return self._token(sid, 1, secrets.token_bytes(_CHAIN_BYTES), self._mac_keys[0])

    def successor(self, token: RefreshToken) -> RefreshToken:
        """Make the token that replaces another one: always the same."""
        return next(self.successors(token))

    def successors(self, token: RefreshToken) -> Iterator[RefreshToken]:
        """Make what may have replaced a token, should the keys have changed since."""
        generation = token.generation + 1
        message = _message(token.sid, generation, token.chain)
        for chain_key, mac_key in zip(self._chain_keys, self._mac_keys, strict=True):
            chain = hmac.digest(chain_key, message, "sha256")
            yield self._token(token.sid, generation, chain, mac_key)

    def read(self, text: str) -> RefreshToken | None:
        """Read what a client presents; None if it was never made here."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            return None
        sid, generation = match[1], int(match[2])
        chain, mac = _decode(match[3]), _decode(match[4])
        if chain is None or mac is None:
            return None
        message = _message(sid, generation, chain)
        for key in self._mac_keys:
            if hmac.compare_digest(hmac.digest(key, message, "sha256")[:_MAC_BYTES], mac):
                return RefreshToken(sid, generation, chain, text)
        return None

    @staticmethod
    def _token(sid: str, generation: int, chain: bytes, mac_key: bytes) -> RefreshToken:
        mac = hmac.digest(mac_key, _message(sid, generation, chain), "sha256")[:_MAC_BYTES]
        text = f"{PREFIX}{sid}.{generation}.{_encode(chain)}.{_encode(mac)}"
        return RefreshToken(sid, generation, chain, text)


def _message(sid: str, generation: int, chain: bytes) -> bytes:
    # Unambiguous: a sid holds no dot, and the chain's length is fixed.
    return f"{sid}.{generation}.".encode() + chain


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    """Decode canonical base64url: one spelling per token, for its hash is of the spelling."""
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return content if _encode(content) == text else None
