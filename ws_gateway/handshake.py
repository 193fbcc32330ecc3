"""What a handshake asks for, read from its headers and query string alone.

Nothing here looks into a token: it is found, counted and handed on. The order of the rules is the
order of the functions: first the origin, for every kind of credential alike (RFC 6455 section
10.2), then the subprotocols, then the one place where the credential is.

    1. ``Authorization: Bearer <token>``                              services, mobile, CLI
    2. ``Sec-WebSocket-Protocol: centrifuge-json, bearer.<token>``    browsers on any origin allowed
    3. cookie ``__Host-drawbridge``                                   browsers on the front's origin
    4. ``?access_token=<token>``                                      only where switched on

Two of 1, 2 and 4 at once are refused (RFC 6750 section 2); each of them beats the cookie.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl

from ws_gateway.exceptions import ConfigurationError, HandshakeRejected

__all__ = [
    "COOKIE",
    "SUBPROTOCOLS",
    "Headers",
    "Offer",
    "Source",
    "challenge",
    "check_origins",
    "page_of",
    "query_values",
    "read_handshake",
    "read_origin",
    "read_request",
]

Headers = Iterable[tuple[bytes, bytes]]
"""Raw ASGI headers: names in lower case, values as they came."""

SUBPROTOCOLS = ("centrifuge-json", "centrifuge-protobuf")
"""The subprotocols the gateway speaks."""

COOKIE = "__Host-drawbridge"
"""The browser's access token. ``__Host-`` ties it to this very host (RFC 6265bis 4.1.3.2)."""

_REALM = "drawbridge"
_BEARER_PREFIX = "bearer."
_QUERY_TOKEN = "access_token"  # noqa: S105  # RFC 6750 section 2.3: a parameter's name
_MAX_QUERY_FIELDS = 64
_OWN_PAGE = "same-origin"

# RFC 9110 section 5.6.2.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# "b64token" of RFC 6750 section 2.1.
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
# RFC 6454 section 6.2, in lower case as browsers write it: anything else could never be equal.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://([a-z0-9._\-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_ASKS_FOR_PROTOBUF = frozenset({("cf_protocol", "protobuf"), ("format", "protobuf")})

# Requests that change nothing (RFC 9110 section 9.2.1); browsers send most of them without Origin.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Source(Enum):
    """Where the credential was found."""

    NONE = "none"
    HEADER = "header"
    SUBPROTOCOL = "subprotocol"
    COOKIE = "cookie"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one handshake asks for.

    Attributes:
        subprotocol: The name to answer with; None if none was offered, which means JSON.
        token: The credential as it came, not verified; None if there is none. Never printed.
        source: Where ``token`` was.
        bad_cookie: There was a cookie of ours which cannot be used (two of them, no ``Origin``,
            not a token), so that it counts as none; yet who sent it is no guest.
        native_ping: The client wants WebSocket ping frames instead of the protocol's own.
        protobuf: It names no subprotocol, and asks for Protobuf in the URL.
    """

    subprotocol: str | None
    token: str | None = field(repr=False)
    source: Source
    bad_cookie: bool = False
    native_ping: bool = False
    protobuf: bool = False


def challenge(error: str | None = None, *, scope: str | None = None) -> dict[str, str]:
    """Return the ``WWW-Authenticate`` header of a refusal (RFC 6750 section 3).

    Args:
        error: ``invalid_token`` or ``insufficient_scope``; None where no bearer token was sent,
            because a client that sent none is told of no error (section 3.1).
        scope: The scopes that were needed, separated by blanks.
    """
    parameters = [f'realm="{_REALM}"']
    if error is not None:
        parameters.append(f'error="{error}"')
    if scope is not None:
        parameters.append(f'scope="{scope}"')
    return {"WWW-Authenticate": "Bearer " + ", ".join(parameters)}


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Return the allow-list, each entry spelled as a browser spells its ``Origin``.

    Raises:
        ConfigurationError: An entry that no browser would ever send, and which would therefore
            silently allow nobody: a path, a slash at the end, capitals, a default port, ``*``.
    """
    allowed = frozenset(origins)
    for origin in sorted(allowed):
        match = _ORIGIN.fullmatch(origin)
        if match is None:
            raise ConfigurationError(
                f"origins: {origin!r} is not written scheme://host or scheme://host:port"
            )
        scheme, port = origin.partition(":")[0], (match[2] or "").removeprefix(":")
        if port and port == _DEFAULT_PORTS.get(scheme):
            raise ConfigurationError(f"origins: browsers write {origin!r} without the port")
    return allowed


def read_handshake(
    headers: Headers,
    query_string: bytes,
    *,
    origins: Collection[str],
    subprotocols: Sequence[str] = SUBPROTOCOLS,
    query_token: bool = False,
) -> Offer:
    """Return what a WebSocket handshake asks for.

    Args:
        headers: Raw ASGI headers.
        query_string: The URL's query, still percent-encoded.
        origins: The allowed origins, exactly as in the ``Origin`` header.
        subprotocols: The names this endpoint speaks.
        query_token: Accept ``access_token`` in the URL.

    Raises:
        HandshakeRejected: 400, 401 or 403, as the module's rules say.
    """
    found = _collect(headers)
    origin = _check_origin(found[b"origin"], origins)
    subprotocol, offered = _choose_subprotocol(found[b"sec-websocket-protocol"], subprotocols)
    query = _read_query(query_string) if query_string else []
    token, source = _find_token(found[b"authorization"], offered, query, query_token)
    bad_cookie = False
    if token is None:
        # A browser always names the origin of a handshake, and nothing else proves that the
        # cookie was not sent for a foreign page.
        token, bad_cookie = _read_cookie(found[b"cookie"], usable=origin is not None)
        source = Source.NONE if token is None else Source.COOKIE
    return Offer(
        subprotocol=subprotocol,
        token=token,
        source=source,
        bad_cookie=bad_cookie,
        native_ping=bool(query)
        and [v for n, v in query if n == "cf_ws_frame_ping_pong"] == ["true"],
        protobuf=subprotocol is None and not _ASKS_FOR_PROTOBUF.isdisjoint(query),
    )


def read_request(
    headers: Headers,
    query_string: bytes,
    *,
    method: str,
    origins: Collection[str],
    query_token: bool = False,
) -> Offer:
    """Return the credential of a plain HTTP request, by the rules of the handshake.

    Two things differ. There are no subprotocols. And the cookie counts without ``Origin`` where
    the method is safe, because a page's navigation and its same-origin GET carry none;
    ``SameSite=Strict`` keeps such a cookie out of what other sites start.

    Args:
        headers: Raw ASGI headers.
        query_string: The URL's query, still percent-encoded.
        method: The HTTP method, in capitals.
        origins: The allowed origins, exactly as in the ``Origin`` header.
        query_token: Accept ``access_token`` in the URL.

    Raises:
        HandshakeRejected: 400, 401 or 403, as the module's rules say.
    """
    found = _collect(headers)
    origin = _check_origin(found[b"origin"], origins)
    query = _read_query(query_string)
    token, source = _find_token(found[b"authorization"], None, query, query_token)
    bad_cookie = False
    if token is None:
        usable = origin is not None or method in _SAFE_METHODS
        token, bad_cookie = _read_cookie(found[b"cookie"], usable=usable)
        source = Source.NONE if token is None else Source.COOKIE
    return Offer(subprotocol=None, token=token, source=source, bad_cookie=bad_cookie)


def read_origin(headers: Headers, *, origins: Collection[str]) -> str | None:
    """Return the origin of a request, None if the client named none.

    Raises:
        HandshakeRejected: 403 for one that is not allowed, 400 for two.
    """
    return _check_origin(_collect(headers)[b"origin"], origins)


def page_of(headers: Headers) -> str | None:
    """Name the page that a request comes from, so that two of one page are known as such.

    A page's GET to its own origin has no ``Origin``, and its POST has; of both the browser says
    ``Sec-Fetch-Site`` (Fetch Metadata), which no page can set.

    Returns:
        None where it is no browser's, or nothing tells.
    """
    origin = None
    for name, value in headers:
        if name == b"sec-fetch-site" and value == b"same-origin":
            return _OWN_PAGE
        if name == b"origin":
            origin = value.decode("latin-1").strip(" \t")
    return origin


def query_values(query_string: bytes, name: str) -> list[str]:
    """Return the values of one parameter of a URL's query.

    Raises:
        HandshakeRejected: 400 for too many parameters.
    """
    return [value for found, value in _read_query(query_string) if found == name]


def _collect(headers: Headers) -> dict[bytes, list[str]]:
    """Return the values of the headers that matter here, in the order they came.

    Latin-1 maps each byte to one character, so that this never fails and nothing is lost
    (RFC 9110 section 5.5); what is not ASCII then fails the rule it meets.
    """
    found: dict[bytes, list[str]] = {
        b"authorization": [],
        b"cookie": [],
        b"origin": [],
        b"sec-websocket-protocol": [],
    }
    for name, value in headers:
        values = found.get(name)
        if values is not None:
            values.append(value.decode("latin-1").strip(" \t"))
    return found


def _check_origin(values: list[str], origins: Collection[str]) -> str | None:
    """Return the origin, or None if the client named none."""
    if not values:
        return None
    if len(values) > 1:
        raise HandshakeRejected(400, "more than one Origin header")
    # ``null``, which sandboxed frames and files send, is in no list: ``check_origins`` sees to it.
    if values[0] not in origins:
        raise HandshakeRejected(403, "this origin is not allowed")
    return values[0]


def _choose_subprotocol(
    values: list[str], supported: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return the subprotocol to answer with and the token that was offered as one."""
    # Several headers are one list, and empty elements do not count (RFC 9110 section 5.6.1).
    if not values:
        return None, None
    names, tokens = [], []
    for item in ",".join(values).split(","):
        name = item.strip(" \t")
        if not name:
            continue
        if _NAME.fullmatch(name) is None:
            raise HandshakeRejected(400, "malformed Sec-WebSocket-Protocol header")
        names.append(name)
        if name.startswith(_BEARER_PREFIX):
            tokens.append(name.removeprefix(_BEARER_PREFIX))
    if not names:
        return None, None
    if len(tokens) > 1:
        raise HandshakeRejected(400, "more than one bearer subprotocol")
    if tokens == [""]:
        raise HandshakeRejected(400, "the bearer subprotocol carries no token")
    if len(set(names)) < len(names):
        # RFC 6455 section 4.1: the elements must all be unique.
        raise HandshakeRejected(400, "a subprotocol is offered twice")
    for name in names:
        if name in supported and not name.startswith(_BEARER_PREFIX):
            return name, tokens[0] if tokens else None
    # A browser fails a handshake that is answered without one of its subprotocols, and the token
    # is never sent back; so a bearer entry alone has no good answer either.
    raise HandshakeRejected(400, "none of the offered subprotocols is supported")


def _read_query(query_string: bytes) -> list[tuple[str, str]]:
    if not query_string:
        return []
    try:
        return parse_qsl(
            query_string.decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=_MAX_QUERY_FIELDS,
        )
    except ValueError:
        raise HandshakeRejected(400, "too many query parameters") from None


def _find_token(
    authorization: list[str],
    offered: str | None,
    query: list[tuple[str, str]],
    query_token: bool,
) -> tuple[str | None, Source]:
    """Return the credential of the header, the subprotocols or the URL."""
    in_url = [value for name, value in query if name == _QUERY_TOKEN] if query else []
    if in_url and not query_token:
        # Every hop writes URLs into its log (RFC 9700 section 4.3.2).
        raise HandshakeRejected(400, "a token in the URL is not accepted")
    if len(authorization) + len(in_url) + (offered is not None) > 1:
        raise HandshakeRejected(400, "more than one credential")
    if authorization:
        return _read_authorization(authorization[0]), Source.HEADER
    if offered is not None:
        return offered, Source.SUBPROTOCOL
    if in_url:
        if not in_url[0]:
            raise HandshakeRejected(400, "the access_token parameter is empty")
        return in_url[0], Source.QUERY
    return None, Source.NONE


def _read_authorization(value: str) -> str:
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        # An unsupported scheme is no bearer token, hence no error code (RFC 6750 section 3.1).
        raise HandshakeRejected(401, "a bearer token is required", challenge())
    if _TOKEN68.fullmatch(token) is None:
        raise HandshakeRejected(401, "malformed bearer token", challenge("invalid_token"))
    return token


def _read_cookie(values: list[str], *, usable: bool) -> tuple[str | None, bool]:
    """Return the token of our cookie, and whether there was one that cannot be used."""
    # Only blanks and tabs are trimmed: a server that trims more lets a page set a cookie whose
    # name becomes ``__Host-…`` here without the browser's protection of that prefix.
    tokens = [
        value.strip(" \t")
        for pair in ";".join(values).split(";")
        for name, equals, value in (pair.partition("="),)
        if equals and name.strip(" \t") == COOKIE
    ]
    if not tokens:
        return None, False
    if usable and len(tokens) == 1 and _TOKEN68.fullmatch(tokens[0]):
        return tokens[0], False
    return None, True
