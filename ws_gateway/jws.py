"""The one parser of tokens: the compact form of a signed JSON text (RFC 7515 section 7.1).

Whoever judges a token judges what is parsed here, so that there is no second parser to disagree
with the first. Nothing that is returned is believed yet.
"""

from __future__ import annotations

import json
import re
import string
from binascii import a2b_base64
from typing import Any, NoReturn

import msgspec

from ws_gateway.exceptions import InvalidToken

MAX_TOKEN_CHARACTERS = 4096

# The header is at most 512 bytes, so that it cannot be nested deeply.
_COMPACT = re.compile(r"([A-Za-z0-9_-]{2,683})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{20,})")


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A token's parts.

    Attributes:
        signed: The bytes that the signature is of.
        signature: The signature.
        header: At most ``alg``, ``typ`` and ``kid``, of any type.
        claims: The payload.
    """

    signed: bytes
    signature: bytes
    header: dict[str, Any]
    claims: dict[str, Any]


def parse(token: str) -> Parsed:
    """Return the parts of a token that is written in the one canonical way.

    Raises:
        InvalidToken: It is not.
    """
    if type(token) is not str or len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken("malformed")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("malformed")
    try:
        header = read_object(_decode(match[1]))
        claims = read_object(_decode(match[2]))
        signature = _decode(match[3])
    except Exception:  # noqa: BLE001  # among them RecursionError, from a deeply nested payload
        raise InvalidToken("malformed") from None
    if not header.keys() <= {"alg", "typ", "kid"}:
        # Above all ``crit``, which asks to be refused where it is not understood (RFC 7515 section
        # 4.1.11), and everything that would bring its own key.
        raise InvalidToken("header")
    return Parsed(token[: match.end(2)].encode("ascii"), signature, header, claims)


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object whose names occur once.

    Raises:
        ValueError: It is none; a RecursionError may be raised too.
    """
    parsed = read_json(text)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")  # noqa: TRY004  # wrong data, not a wrong call
    return parsed


def read_json(text: bytes) -> object:
    """Read any JSON text in UTF-8, by the same rules."""
    try:
        quick: object = _decode_json(text)
        # What is written again as it was has nothing that another reader would read otherwise.
        if _encode_json(quick) == text:
            return quick
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeError):
        pass
    # ``json.loads`` would guess UTF-16 from bytes.
    parsed: object = _DECODER.decode(str(text, "utf-8"))
    return parsed


def _decode(segment: str) -> bytes:
    """Decode base64url, accepting only the one way to write these bytes (RFC 4648 section 3.5)."""
    left = len(segment) % 4
    if segment[-1] not in _LAST[left]:
        raise ValueError("not canonical")
    # Strictly: whatever is none of the alphabet raises.
    standard = segment.replace("-", "+").replace("_", "/")
    return a2b_base64(standard + _PADDING[left], strict_mode=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose names occur once (RFC 7519 section 4, RFC 7515 section 4)."""
    built = dict(pairs)
    if len(built) < len(pairs):
        raise ValueError("duplicate name")
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Of what is left behind the last four characters, only these have no bits that are dropped.
_LAST = (
    string.ascii_letters + string.digits + "-_",
    "",
    "AQgw",
    "AEIMQUYcgkosw048",
)
_PADDING = ("", "", "==", "=")
_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode

# Prepared once; NaN and Infinity are no JSON.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
