"""The claims of a token, each read by its type and its limits; ``InvalidToken`` names the claim."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from ws_gateway.credentials import OVERRIDABLE, SubscriptionGrant
from ws_gateway.exceptions import InvalidToken
from ws_gateway.jws import read_json

MAX_TEXT_CHARACTERS = 255
MAX_INFO_BYTES = 1024
MAX_CHANNELS = 128
_MAX_DATE = 2**53  # the integers JSON carries safely (RFC 8259 section 6)

# No control characters, and no surrogates, which no UTF-8 text can hold.
_TEXT = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_TEXT_CHARACTERS}}}")

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def read_date(claims: Mapping[str, Any], name: str) -> int:
    """Return a NumericDate, whole seconds only; a bool is an int to Python, but not here."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value < _MAX_DATE:
        raise InvalidToken(name)
    return value


def read_moment(claims: Mapping[str, Any], name: str) -> float:
    """Return a NumericDate as RFC 7519 allows it: fractions of a second too, and 0."""
    value = claims.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isfinite(value)
        or not 0 <= value < _MAX_DATE
    ):
        raise InvalidToken(name)
    return float(value)


def is_text(value: object) -> bool:
    """Whether it is a short text that can stand in a log line."""
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def read_text(claims: Mapping[str, Any], name: str) -> str:
    """Return such a text."""
    value = claims.get(name)
    if not isinstance(value, str) or _TEXT.fullmatch(value) is None:
        raise InvalidToken(name)
    return value


def read_info(value: object) -> bytes:
    """Return ``info`` as compact JSON, ready to be copied into what others are sent."""
    if not isinstance(value, dict):
        raise InvalidToken("info")
    info = _compact(value, "info")
    if len(info) > MAX_INFO_BYTES:
        raise InvalidToken("info")
    return info


def read_channels(value: object) -> tuple[str, ...]:
    """Return a list of channel names, each once; whether they exist is judged elsewhere."""
    if not isinstance(value, list) or len(value) > MAX_CHANNELS or not all(map(is_text, value)):
        raise InvalidToken("channels")
    return tuple(dict.fromkeys(value))


def read_payload(claims: Mapping[str, Any], name: str) -> bytes | None:
    """Return a claim that is JSON, or that is base64 of JSON with ``b64`` before its name.

    It is copied into what JSON clients are sent, so that nothing else can be taken. None if there
    is neither, or null.
    """
    encoded = claims.get("b64" + name)
    value = claims.get(name)
    if encoded is not None:
        if not isinstance(encoded, str):
            raise InvalidToken("b64" + name)
        try:
            value = read_json(base64.b64decode(encoded, validate=True))
        except (ValueError, RecursionError):
            raise InvalidToken("b64" + name) from None
    return None if value is None else _compact(value, name)


def read_grant(claims: Mapping[str, Any], *, expires_at: float) -> SubscriptionGrant:
    """Return what a token says of one subscription (protocol section 16)."""
    override = claims.get("override")
    if override is None:
        override = {}
    if not isinstance(override, dict):
        raise InvalidToken("override")
    chosen = []
    for option in OVERRIDABLE:
        said = override.get(option)
        if said is None:
            continue
        if not isinstance(said, dict) or not isinstance(said.get("value"), bool):
            raise InvalidToken("override")
        chosen.append((option, bool(said["value"])))
    return SubscriptionGrant(
        info=read_payload(claims, "info"),
        data=read_payload(claims, "data"),
        override=tuple(chosen),
        expires_at=expires_at,
    )


def _compact(value: object, name: str) -> bytes:
    try:
        # Refused here: 1e999, which became infinity, and surrogates, which are no UTF-8.
        return _encode(value).encode("utf-8")
    except (ValueError, RecursionError):
        raise InvalidToken(name) from None
