"""Access tokens in bulk, one a user, signed with the stack's own key.

Not by way of ``/token``: a login costs a password hash and is limited, and this test is about
sockets. Not one token for all either: then all would be one user, with one personal channel.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Sequence
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import auth_service.settings
from auth_service.keys import KeyRing, load_keys
from auth_service.tokens import AccessTokens
from infra.load.settings import LoadError

_SECONDS = 5.0
_CLIENT = "load"


def stack_keys(settings: auth_service.settings.Settings) -> KeyRing:
    """Load the keys of the stack on this machine.

    Raises:
        LoadError: There are none; none are made.
    """
    if not any(settings.keys_dir.glob("signing-*.pem")):
        raise LoadError(
            f"there is no signing key in {settings.keys_dir}; first: make up LIMITS=load GATEWAYS=2"
        )
    return load_keys(settings.keys_dir, settings.signing_algorithm)


def check(host: str, *, certificates: Path, kid: str) -> None:
    """See to it that the front answers and publishes the key that will sign.

    Args:
        host: Of the front, with scheme and port.
        certificates: Whom to trust.
        kid: Of the signing key.

    Raises:
        LoadError: It does not.
    """
    front = urlsplit(host)
    try:
        connection = HTTPSConnection(
            front.hostname or "",
            front.port or 443,
            timeout=_SECONDS,
            context=ssl.create_default_context(cafile=certificates),
        )
        connection.request("GET", "/.well-known/jwks.json")
        published = json.loads(connection.getresponse().read())
        connection.close()
        kids = {key["kid"] for key in published["keys"]}
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise LoadError(
            f"nothing answers at {host} ({_reason(error)}); first: make up LIMITS=load GATEWAYS=2"
        ) from None
    if kid not in kids:
        raise LoadError(f"{host} does not trust the key in DRAWBRIDGE_LOCAL: it is another stack")


def mint(
    count: int,
    *,
    keys: KeyRing,
    issuer: str,
    audience: str,
    lifetime_seconds: float,
    now: float,
) -> Sequence[str]:
    """Sign a token for each of ``count`` users, ``load-0`` and so on.

    Args:
        count: How many.
        keys: Of the issuer.
        issuer: Whom the gateways trust.
        audience: Whom it is for.
        lifetime_seconds: They last for the whole test: this is no test of renewal.
        now: Seconds since 1970.
    """
    tokens = AccessTokens(
        keys=keys,
        issuer=issuer,
        audience=audience,
        lifetime_seconds=math.ceil(lifetime_seconds),
    )
    return [
        tokens.mint(
            sub=f"load-{number}",
            name=f"load-{number}",
            client_id=_CLIENT,
            scopes={"connect"},
            now=now,
        ).text
        for number in range(count)
    ]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
