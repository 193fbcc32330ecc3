"""Access tokens in bulk, one a user, signed with the stack's own key.

Not by way of ``/token``: a login costs a password hash and is limited, and this test is about
sockets. Not one token for all either: then all would be one user, with one personal channel.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import ssl
import time
from collections.abc import Sequence
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import auth_service.settings
from auth_service.exceptions import StoreUnavailable
from auth_service.keys import KeyRing, load_keys
from auth_service.rotation import KeyRotation
from auth_service.sealing import FILE_NAME, load_secret_keys
from auth_service.store.database import Database
from auth_service.tokens import AccessTokens
from infra.load.settings import LoadError

_SECONDS = 5.0
_CLIENT = "load"


def stack_keys(settings: auth_service.settings.Settings) -> KeyRing:
    """Load the keys of the stack on this machine.

    Raises:
        LoadError: There are none; none are made.
        ConfigurationError: They cannot be used.
    """
    if settings.keys_source == "files":
        if not any(settings.keys_dir.glob("signing-*.pem")):
            raise _missing(f"there is no signing key in {settings.keys_dir}")
        return load_keys(settings.keys_dir, settings.signing_algorithm)
    if not settings.sealing_keys and not (settings.keys_dir / FILE_NAME).exists():
        raise _missing(f"there is no {FILE_NAME} in {settings.keys_dir}")
    scheme, _, path = settings.database_url.partition(":///")
    # Reading would make the file.
    if scheme.startswith("sqlite") and not Path(path).exists():
        raise _missing(f"there is no database {path}")
    return asyncio.run(_database_keys(settings))


async def _database_keys(settings: auth_service.settings.Settings) -> KeyRing:
    database = Database(settings.database_url)
    rotation = KeyRotation(
        database=database,
        secrets=load_secret_keys(settings.sealing_keys, settings.keys_dir),
        directory=settings.keys_dir,
        algorithm=settings.signing_algorithm,
        clock=time.time,
    )
    try:
        await rotation.reload()
        return rotation.at(time.time())
    except (StoreUnavailable, LookupError):
        raise _missing("the database has no signing key") from None
    finally:
        await database.close()


def _missing(what: str) -> LoadError:
    return LoadError(f"{what}; first: make up LIMITS=load GATEWAYS=2")


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
            sid=secrets.token_urlsafe(16),
            now=now,
        ).text
        for number in range(count)
    ]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
