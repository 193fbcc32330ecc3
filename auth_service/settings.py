"""The environment as one frozen value: every ``AUTH_*`` variable, its default and its bounds."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from typing_extensions import override

from auth_service.exceptions import ConfigurationError
from auth_service.redis_address import check as check_redis_url
from auth_service.sealing import parse_keys

PREFIX = "AUTH_"
# Kubernetes describes every Service of the namespace to every pod: these come from one that is
# called "auth" or "auth-service".
FOREIGN = re.compile(r"AUTH_(SERVICE_.*|PORT(_.*)?)")
# Values that may hold a password: never shown in a message, and readable from a file.
SECRETS = frozenset({"database_url", "sealing_keys", "redis_url", "revocations_key"})
SHOWN_CHARACTERS = 80
# How examples begin their secrets, so that they cannot be kept by mistake.
_EXAMPLE = "dev-only-"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds.

    Args:
        host: An IP address or a host name, without brackets.
        port: 0 to 65535; 0 lets the system choose.
    """

    host: str
    port: int

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _whole(low: int, high: int) -> Callable[[object], int]:
    """Return a validator for whole numbers from ``low`` to ``high``."""

    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number between {low} and {high}")
        return value

    return check


def _seconds(low: float, high: float) -> Callable[[object], float]:
    """Return a validator for numbers of seconds from ``low`` to ``high``."""

    def check(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
            value = float(value)
        number = value if isinstance(value, int | float) else math.nan
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError(f"must be a number of seconds between {low} and {high}")
        return float(number)

    return check


def _one_of(*words: str) -> Callable[[object], str]:
    """Return a validator for one word out of a few."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return check


def _addresses(value: object) -> tuple[Address, ...]:
    """Read ``host:port`` entries separated by commas; IPv6 hosts stand in brackets."""
    if isinstance(value, tuple) and all(isinstance(item, Address) for item in value) and value:
        return value
    found = []
    for entry in str(value).split(","):
        match = re.fullmatch(
            r"\s*(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})\s*", entry
        )
        if match is None or int(match[3]) > 65535:  # noqa: PLR2004 (the highest port)
            raise ValueError("must be host:port, several separated by commas")
        found.append(Address(match[1] or match[2], int(match[3])))
    return tuple(found)


def _networks(value: object) -> tuple[str, ...]:
    """Read addresses and networks separated by commas."""
    entries = value if isinstance(value, tuple) else str(value).split(",")
    try:
        return tuple(str(ip_network(str(entry).strip())) for entry in entries)
    except ValueError:
        raise ValueError("must be IP addresses or networks, separated by commas") from None


def _database_url(value: object) -> str:
    """Accept the two kinds of address; what is wrong with one is not told, for a password is in it.

    The driver's options are settings of their own, so nothing follows the name of the database.
    """
    if isinstance(value, str):
        if re.fullmatch(r"sqlite\+aiosqlite:///[^?#\s:]+", value):
            return value
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
            name = parts.path.removeprefix("/")
            if (
                re.fullmatch(r"[\x21-\x7e]+", value)
                and (parts.scheme, parts.query, parts.fragment) == ("postgresql+asyncpg", "", "")
                and parts.hostname
                and parts.username
                and parts.port != 0
                and re.fullmatch(r"[A-Za-z0-9_-]{1,63}", name)
            ):
                return value
    raise ValueError(
        "must be sqlite+aiosqlite:///PATH or postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME"
    )


def _sealing_keys(value: object) -> str:
    """Check the keys; the text of a mistake never shows them."""
    if not isinstance(value, str):
        raise ValueError("must be base64url keys of 32 bytes, separated by commas")  # noqa: TRY004
    if value:
        parse_keys(value)
    return value


def _redis_url(value: object) -> str:
    return check_redis_url(value if isinstance(value, str) else " ")


def _revocations_key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([\x21-\x7e]{32,256})?", value):
        raise ValueError("must be 32 to 256 printable ASCII characters without blanks")
    return value


def _client_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([A-Za-z0-9_-]{1,56})?", value):
        raise ValueError("must be at most 56 letters, digits, hyphens and underscores")
    return value


def _audience(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", value):
        raise ValueError("must be 1 to 255 printable ASCII characters without blanks")
    return value


def _origins(value: object) -> tuple[str, ...]:
    """Read origins separated by commas, each as a browser writes it (RFC 6454 section 6.2)."""
    if isinstance(value, tuple):
        return value
    found = tuple(entry.strip() for entry in str(value).split(","))
    for origin in found:
        # Browsers leave the scheme's own port out: with it nobody would be let in.
        match = re.fullmatch(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", origin)
        if match is None or (match[1], match[2]) in {("http", ":80"), ("https", ":443")}:
            raise ValueError("must be scheme://host or scheme://host:port as browsers write it")
    return found


class Settings(BaseModel):
    """What an operator may choose; each field is the variable ``AUTH_`` plus its name in capitals.

    Attributes:
        environment: ``production`` refuses what is only fit for a demonstration: an issuer or
            origins without https, a default client, demo users, secrets that begin with
            ``dev-only-``, and a sealing key that nobody has chosen or kept.
        bind: Listeners of the public application.
        internal_bind: Listeners for probes and metrics; never reachable from outside.
        issuer: The ``iss`` of every token and the base of every address in the metadata. Comes from
            here alone: a Host header is the client's word (RFC 8414 section 3.3).
        audience: The ``aud`` of access tokens.
        access_token_seconds: How long an access token lives, 60 to 3600.
        session_seconds: How long a session lives, however often it is refreshed.
        refresh_idle_seconds: How long it lives without being refreshed.
        refresh_grace_seconds: For how long a replaced refresh token gets the same answer again, 0
            to 60; 0: it ends the session at once.
        signing_algorithm: What new signing keys are for.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` is believed.
        database_url: Where everything but the keys is kept: SQLite or PostgreSQL.
        database_pool: Connections to it that each process keeps, 1 to 100.
        database_seconds: How long PostgreSQL may take for what a request needs.
        database_tls: PostgreSQL's ``sslmode``. For ``verify-ca`` and ``verify-full`` the variable
            ``PGSSLROOTCERT`` names the file of the authority.
        audit_retention_days: How long events of the audit are kept.
        session_retention_days: How long sessions are kept that have ended or expired.
        keys_dir: Where key files are, made on the first start.
        keys_source: `database`: signing keys are kept there, sealed, and rotated by orders; the PEM
            files in the directory are taken over once. `files`: those files count, as they are at
            the start, and nothing rotates them.
        sealing_keys: Keys of 32 bytes in base64url, separated by commas, under which secrets are
            stored sealed: the first one seals, all of them open. Several processes on different
            machines need the same. Empty: `sealing.key` in the directory of keys.
        redis_url: Where the revocation log is published for the gateways, written as
            ``GATEWAY_REDIS_URL``; empty: nowhere.
        revocations_key: What a gateway presents to read the revocation log on the internal
            listener, at least 32 characters; empty: it is not served there.
        default_client: Client of a request that names none; empty: such a request is refused.
        origins: The pages that may log in by cookie, as browsers write ``Origin``.
        hash_threads: Passwords checked at the same time; each takes 19 MiB and one core.
        hash_queue: Logins that may wait for a thread.
        hash_wait_seconds: How long each may wait.
        limit_logins: Log-ins a minute altogether; like all limits shared by every process, with as
            many at once, and 0 is no limit.
        limit_address: Log-ins a minute from one address, or from one IPv6 network of 64 bits.
        limit_account: Log-ins a minute to one account.
        limit_client: Wrong credentials a minute of one client from one address.
        limit_user_code: User codes a minute from one address.
        limit_device: Devices a minute that one client begins to log in from one address.
        limit_introspection: Tokens a minute that one client introspects and that are not active;
            each process counts for itself, because an introspection writes nothing.
        lockout_failures: Failures in a row after which an account is locked, for a second first and
            twice as long each time.
        lockout_seconds: The longest such lock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Before the fields whose validators look at it.
    environment: Annotated[
        Literal["development", "production"], BeforeValidator(_one_of("development", "production"))
    ] = "development"
    bind: Annotated[tuple[Address, ...], BeforeValidator(_addresses)] = (
        Address("127.0.0.1", 8001),
    )
    internal_bind: Annotated[tuple[Address, ...], BeforeValidator(_addresses)] = (
        Address("127.0.0.1", 9001),
    )
    issuer: str = "https://localhost:8443"
    audience: Annotated[str, BeforeValidator(_audience)] = "drawbridge"
    access_token_seconds: Annotated[int, BeforeValidator(_whole(60, 3600))] = 600
    session_seconds: Annotated[int, BeforeValidator(_whole(300, 31_536_000))] = 2_592_000
    refresh_idle_seconds: Annotated[int, BeforeValidator(_whole(60, 31_536_000))] = 604_800
    refresh_grace_seconds: Annotated[int, BeforeValidator(_whole(0, 60))] = 10
    signing_algorithm: Annotated[
        Literal["ES256", "RS256"], BeforeValidator(_one_of("ES256", "RS256"))
    ] = "ES256"
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_networks)] = ()
    database_url: Annotated[str, BeforeValidator(_database_url)] = (
        "sqlite+aiosqlite:///.local/auth.db"
    )
    database_pool: Annotated[int, BeforeValidator(_whole(1, 100))] = 8
    database_seconds: Annotated[float, BeforeValidator(_seconds(0.1, 60))] = 5.0
    database_tls: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        BeforeValidator(
            _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
        ),
    ] = "prefer"
    audit_retention_days: Annotated[int, BeforeValidator(_whole(1, 3650))] = 90
    session_retention_days: Annotated[int, BeforeValidator(_whole(0, 3650))] = 30
    keys_dir: Path = Path(".local/keys")
    keys_source: Annotated[
        Literal["database", "files"], BeforeValidator(_one_of("database", "files"))
    ] = "database"
    sealing_keys: Annotated[str, BeforeValidator(_sealing_keys)] = ""
    redis_url: Annotated[str, BeforeValidator(_redis_url)] = ""
    revocations_key: Annotated[str, BeforeValidator(_revocations_key)] = ""
    default_client: Annotated[str, BeforeValidator(_client_id)] = ""
    origins: Annotated[tuple[str, ...], BeforeValidator(_origins)] = ()
    hash_threads: Annotated[int, BeforeValidator(_whole(1, 256))] = os.cpu_count() or 1
    hash_queue: Annotated[int, BeforeValidator(_whole(0, 10_000))] = 64
    hash_wait_seconds: Annotated[float, BeforeValidator(_seconds(0.01, 60))] = 1.5
    limit_logins: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 1200
    limit_address: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 60
    limit_account: Annotated[int, BeforeValidator(_whole(0, 30))] = 30
    limit_client: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 60
    limit_user_code: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 10
    limit_device: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 30
    limit_introspection: Annotated[int, BeforeValidator(_whole(0, 1_000_000))] = 600
    lockout_failures: Annotated[int, BeforeValidator(_whole(1, 50))] = 10
    lockout_seconds: Annotated[int, BeforeValidator(_whole(1, 86_400))] = 900

    @field_validator("issuer")
    @classmethod
    def _issuer_is_a_plain_url(cls, value: str, info: ValidationInfo) -> str:
        """RFC 8414 section 2: no query, no fragment; no trailing slash, for paths follow."""
        plain = re.fullmatch(r"https?://[\x21-\x7e]+", value) is not None
        if not plain or value.endswith("/") or set(value) & set('?#"\\@'):
            raise ValueError("must be an http(s) URL without query, fragment and trailing slash")
        try:
            host = urlsplit(value).hostname
            _ = urlsplit(value).port
        except ValueError:
            host = None
        if not host:
            raise ValueError("must be an http(s) URL without query, fragment and trailing slash")
        if info.data.get("environment") == "production" and not value.startswith("https://"):
            raise ValueError("must be an https URL in production")
        return value

    @field_validator("database_url", "sealing_keys", "redis_url", "revocations_key")
    @classmethod
    def _secret_is_for_production(cls, value: str, info: ValidationInfo) -> str:
        """Secrets of examples are known to everybody who has read them."""
        if info.data.get("environment") == "production" and _EXAMPLE in value:
            raise ValueError(f"production takes no secret that begins with {_EXAMPLE}")
        return value

    @field_validator("default_client")
    @classmethod
    def _no_default_client_in_production(cls, value: str, info: ValidationInfo) -> str:
        """With one, every program anywhere is that client."""
        if info.data.get("environment") == "production" and value:
            raise ValueError("must be empty in production: each client names itself")
        return value

    @field_validator("origins")
    @classmethod
    def _origins_are_https_in_production(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        """Whoever can change a page on its way can log in as its user."""
        plain = any(not origin.startswith("https://") for origin in value)
        if info.data.get("environment") == "production" and plain:
            raise ValueError("must be https origins in production")
        return value

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The pages that may log in; unless told, the issuer's own."""
        return frozenset(self.origins or {self.own_origin})

    @property
    def own_origin(self) -> str:
        """Where our own pages are: the issuer's origin, as browsers write it."""
        parts = urlsplit(self.issuer)
        default_port = {"http": 80, "https": 443}[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port in {None, default_port} else f":{parts.port}"
        return f"{parts.scheme}://{host}{port}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings out of ``environ``; an empty value counts as none.

        Raises:
            ConfigurationError: One line that names the variable and says what it must be.
        """
        variables = {PREFIX + name.upper(): name for name in cls.model_fields}
        files = {f"{PREFIX}{name.upper()}_FILE": name for name in SECRETS}
        given: dict[str, str] = {}
        for variable, value in environ.items():
            if not variable.startswith(PREFIX) or FOREIGN.fullmatch(variable):
                continue
            if variable in files:
                if value and environ.get(variable.removesuffix("_FILE")):
                    raise ConfigurationError(f"{variable}: set it or the plain one, not both")
                if value:
                    given[files[variable]] = _read_secret(variable, value)
            elif variable not in variables:
                # A misspelt setting would silently be its default.
                raise ConfigurationError(f"{variable}: unknown setting")
            elif value:
                given[variables[variable]] = value
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(_one_line(error, given)) from None


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{variable}: cannot read the file: {reason}") from None


def _one_line(error: ValidationError, given: Mapping[str, str]) -> str:
    """Say the first thing that is wrong, with the variable's name and, if no secret, its value."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    message = str(first["msg"]).removeprefix("Value error, ")
    line = f"{PREFIX}{name.upper()}: {message}"
    if name not in SECRETS and name in given:
        # repr() keeps control characters and line ends out of the terminal.
        line += f", not {given[name][:SHOWN_CHARACTERS]!r}"
    return line
