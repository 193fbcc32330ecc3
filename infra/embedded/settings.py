"""The embedded server's defaults, beneath whatever ``AUTH_*`` and ``GATEWAY_*`` the caller set.

Two variables are its own: ``DRAWBRIDGE_FRONT``, the TLS listener as ``host:port`` (several
separated by commas), and ``DRAWBRIDGE_LOCAL``, the directory of all that is made at run time.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from typing_extensions import override

import auth_service.settings
import ws_gateway.settings
from infra.embedded import loopback
from infra.embedded.local_directory import LocalDirectory
from ws_gateway.exceptions import ConfigurationError

FRONT_PORT = 8443
DEFAULT_CLIENT = "chat"
_HTTPS_PORT = 443
_ADDRESSES: TypeAdapter[tuple[loopback.Address, ...]] = TypeAdapter(ws_gateway.settings.Addresses)


@dataclass(frozen=True, slots=True)
class Origin:
    """The front as browsers name it, and the issuer of its tokens.

    Attributes:
        port: Of the front.
    """

    port: int

    @property
    def authority(self) -> str:
        """Host and port, the port left out where a browser does so."""
        return "localhost" if self.port == _HTTPS_PORT else f"localhost:{self.port}"

    @override
    def __str__(self) -> str:
        return f"https://{self.authority}"


def front_addresses(environment: Mapping[str, str]) -> Sequence[loopback.Address]:
    """Return where the TLS listener binds: IPv4's and, if the machine has it, IPv6's loopback.

    Raises:
        ConfigurationError: ``DRAWBRIDGE_FRONT`` is malformed.
    """
    given = environment.get("DRAWBRIDGE_FRONT")
    if not given:
        hosts = ("127.0.0.1", "::1") if loopback.has_ipv6() else ("127.0.0.1",)
        return [(host, FRONT_PORT) for host in hosts]
    try:
        return _ADDRESSES.validate_python(given)
    except ValidationError:
        raise ConfigurationError(
            "DRAWBRIDGE_FRONT: must be host:port, or several separated by commas"
        ) from None


def with_revocations_key(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Add the key that the gateway shows to the auth service, made anew unless the caller set one.

    Both are one process, so that it need not be kept.
    """
    names = ("AUTH_REVOCATIONS_KEY", "GATEWAY_REVOCATIONS_KEY")
    if any(environment.get(f"{name}_FILE") for name in names):
        return environment
    key = environment.get(names[0]) or secrets.token_urlsafe(32)
    given = {name: value for name, value in environment.items() if value}
    return {**environment, **dict.fromkeys(names, key), **given}


def auth_settings(
    environment: Mapping[str, str], *, local: LocalDirectory, origin: Origin
) -> auth_service.settings.Settings:
    """Read the auth service's settings.

    Raises:
        ConfigurationError: One is wrong, or is meant for production.
    """
    # Before the others are read, of which production would refuse some.
    if environment.get("AUTH_ENVIRONMENT") == "production":
        raise ConfigurationError(
            "AUTH_ENVIRONMENT: production takes no demo users, and this server makes some"
        )
    return auth_service.settings.Settings.from_environment(
        auth_environment(environment, local=local, origin=origin)
    )


def auth_environment(
    environment: Mapping[str, str], *, local: LocalDirectory, origin: Origin
) -> dict[str, str]:
    """Return the ``AUTH_*`` variables, the caller's above the defaults."""
    defaults = {
        "AUTH_ISSUER": str(origin),
        "AUTH_KEYS_DIR": str(local.path("keys")),
        "AUTH_DEFAULT_CLIENT": DEFAULT_CLIENT,
        "AUTH_ORIGINS": str(origin),
    }
    if not environment.get("AUTH_DATABASE_URL_FILE"):
        defaults["AUTH_DATABASE_URL"] = f"sqlite+aiosqlite:///{local.path('auth.db')}"
    return _above(environment, defaults, auth_service.settings.PREFIX)


def gateway_settings(
    environment: Mapping[str, str],
    *,
    auth: auth_service.settings.Settings,
    auth_url: str,
    revocations: str,
    origin: Origin,
) -> ws_gateway.settings.Settings:
    """Read the gateway's settings; it trusts the auth service beside it.

    Args:
        environment: The caller's.
        auth: The settings of that auth service.
        auth_url: Its plain listener, without a path.
        revocations: Where it says what it has revoked: ``redis`` or a URL.
        origin: Whose pages may connect.

    Raises:
        ConfigurationError: One is wrong.
    """
    return ws_gateway.settings.Settings.from_environment(
        gateway_environment(
            environment, auth=auth, auth_url=auth_url, revocations=revocations, origin=origin
        )
    )


def gateway_environment(
    environment: Mapping[str, str],
    *,
    auth: auth_service.settings.Settings,
    auth_url: str,
    revocations: str,
    origin: Origin,
) -> dict[str, str]:
    """Return the ``GATEWAY_*`` variables, the caller's above the defaults; arguments as above."""
    issuer = {
        "issuer": auth.issuer,
        "jwks_url": f"{auth_url}/.well-known/jwks.json",
        "audience": auth.audience,
        "revocations": revocations,
        "api_scope": "api",
    }
    defaults = {
        "GATEWAY_ISSUERS": json.dumps([issuer]),
        "GATEWAY_ORIGINS": str(origin),
        "GATEWAY_CHANNELS_FILE": "infra/demo/channels.toml",
        "GATEWAY_HOOKS": "infra.demo.hooks:hooks",
        # What is printed at the start is to stay in sight.
        "GATEWAY_LOG_LEVEL": "WARNING",
        # There is no other gateway to go to, and whoever stops it waits for its end.
        "GATEWAY_DRAIN_SECONDS": "0",
    }
    return _above(environment, defaults, ws_gateway.settings.PREFIX)


def _above(
    environment: Mapping[str, str], defaults: Mapping[str, str], prefix: str
) -> dict[str, str]:
    own = {name: value for name, value in environment.items() if name.startswith(prefix)}
    return {**defaults, **own}
