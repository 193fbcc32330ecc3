"""The strict reading of a signed token (RFC 7515 section 7.1), before a library sees it.

python-jose ignores ``crit``, accepts stray characters in a signature, and fails with errors of
every kind on input made to break it. Here a token has one spelling and a JSON object one meaning.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from jose import jws
from jose.backends.base import Key

from auth_service.exceptions import InvalidToken

MAX_TOKEN_CHARACTERS = 4096
MAX_CLAIM_CHARACTERS = 255

# The header's 683 characters are 512 bytes, too few to nest brackets deep enough to hurt.
_SHAPE = re.compile(r"([A-Za-z0-9_-]{2,683})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{20,})")
_HEADER_NAMES = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class CompactJWS:
    """A token in its parts, of which nothing is to be believed before `verify`.

    Args:
        text: All of it.
        header: Only ``alg``, ``typ`` and ``kid``, as they came.
        payload: Unread.
    """

    text: str
    header: dict[str, object]
    payload: bytes

    def claims(self) -> dict[str, object]:
        """Read the payload as a JSON object.

        Raises:
            InvalidToken: It is none, or not a plain one; a deep one may raise RecursionError.
        """
        return _object(self.payload)

    def verify(self, key: Key, algorithm: str) -> None:
        """Check the signature.

        Args:
            key: Of the algorithm.
            algorithm: What the header must name; the key's, and never the header's own word.

        Raises:
            InvalidToken: The header names another algorithm.
            JWSError: The signature is wrong.
        """
        if self.header.get("alg") != algorithm:
            raise InvalidToken("alg")
        # jws and not jwt: that one asks the system for the time and reads the claims more kindly.
        jws.verify(self.text, key, algorithms=[algorithm])


def parse(token: str, *, types: Collection[str | None]) -> CompactJWS:
    """Take a token apart.

    Args:
        token: Any text.
        types: Values of ``typ`` in lower case that are accepted; None: it may be left out.

    Raises:
        InvalidToken: Its shape, its spelling or its header is not acceptable.
        ValueError: The header is no JSON in UTF-8.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("length")
    match = _SHAPE.fullmatch(token)
    if match is None:
        raise InvalidToken("shape")
    header, payload, _ = (_decode_segment(segment) for segment in match.groups())
    fields = _object(header)
    if not fields.keys() <= _HEADER_NAMES:
        raise InvalidToken("header")
    typ = fields.get("typ")
    if isinstance(typ, str):
        typ = typ.lower()
    elif typ is not None:
        raise InvalidToken("typ")
    if typ not in types:
        raise InvalidToken("typ")
    return CompactJWS(token, fields, payload)


def claimed_time(claims: dict[str, object], name: str) -> int:
    """Return a claim that is a time in whole seconds since 1970.

    Raises:
        InvalidToken: It is missing or something else.
    """
    value = claims.get(name)
    # bool is an int to isinstance(), and no time.
    if type(value) is not int or value < 0:
        raise InvalidToken(name)
    return value


def claimed_text(claims: dict[str, object], name: str) -> str:
    """Return a claim that is a text of 1 to 255 characters.

    Raises:
        InvalidToken: It is missing or something else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CLAIM_CHARACTERS:
        raise InvalidToken(name)
    return value


def _decode_segment(segment: str) -> bytes:
    """Decode canonical base64url: one text for one value, so a token has one spelling."""
    decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != segment:
        raise InvalidToken("base64")
    return decoded


def _object(text: bytes) -> dict[str, object]:
    """Parse a JSON object in which every name occurs once and every number is finite."""
    parsed = json.loads(
        text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
    )
    if not isinstance(parsed, dict):
        raise InvalidToken("json")
    return parsed


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise InvalidToken("duplicate")
    return unique


def _refuse_constant(_: str) -> object:
    raise InvalidToken("number")
