"""Where authorization codes may be sent: what can be registered, and what equals it.

An address is compared as text and never taken apart and mended: two readings of one address are
how codes end up with strangers (RFC 9700 section 4.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from auth_service.exceptions import AccountError

MAX_CHARACTERS = 512
# Nothing that a browser would correct or read as another part: no blank, quotation mark, bracket,
# backslash or fragment.
_PLAIN = re.compile(r"[A-Za-z0-9:/?\[\]!$&'()*+,;=%._~-]+")
_WEB = re.compile(
    r"(https?)://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?([/?].*)?"
)
# A scheme of one's own is a domain turned round (RFC 8252 section 7.1), so that it has a dot.
_OWN_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:/[^?]*(\?.*)?")
_DOT_SEGMENT = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?([/?].*)?")
_LOCAL_HOSTS = frozenset({"127.0.0.1", "[::1]", "localhost"})


def check(uri: str) -> None:
    """See that an address can be registered.

    ``https`` anywhere, ``http`` on this machine only, and the own scheme of an app.

    Raises:
        AccountError: It cannot; the text says why.
    """
    if len(uri) > MAX_CHARACTERS or _PLAIN.fullmatch(uri) is None:
        raise AccountError(
            f"a redirect URI has at most {MAX_CHARACTERS} characters of RFC 3986, and no fragment"
        )
    if _DOT_SEGMENT.search(uri.partition("?")[0]):
        raise AccountError("a redirect URI holds no dot segments")
    web = _WEB.fullmatch(uri)
    if web is None:
        if _OWN_SCHEME.fullmatch(uri) is None:
            raise AccountError(
                "a redirect URI begins with https://, with http:// and a loopback address,"
                " or with a scheme that has a dot"
            )
    elif web[1] == "http" and web[2] not in _LOCAL_HOSTS:
        raise AccountError("a redirect URI over http is for loopback addresses only")


def is_registered(uri: str, registered: Iterable[str]) -> bool:
    """Say whether an address is one of those registered, to the letter.

    Only the port of a loopback address may differ, because a program on somebody's desktop takes
    one that is free (RFC 8252 section 7.3).
    """
    return len(uri) <= MAX_CHARACTERS and any(
        uri == one or _equal_but_for_the_port(uri, one) for one in registered
    )


def source(uri: str) -> str:
    """Return what a Content-Security-Policy calls a registered address: origin, or scheme.

    A policy has no words for an IPv6 address, and what stands for the host behind the own scheme
    of an app may hold a semicolon.
    """
    parts = urlsplit(uri)
    named = parts.scheme in {"http", "https"} and not parts.netloc.startswith("[")
    return f"{parts.scheme}://{parts.netloc}" if named else f"{parts.scheme}:"


def _equal_but_for_the_port(uri: str, registered: str) -> bool:
    left, right = _LOOPBACK.fullmatch(uri), _LOOPBACK.fullmatch(registered)
    return left is not None and right is not None and left.groups() == right.groups()
