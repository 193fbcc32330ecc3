"""The gateway's settings: the environment, read once, typed, and refused if unsafe."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    ValidationError,
    model_validator,
)

from ws_gateway.channels import Channels
from ws_gateway.exceptions import ConfigurationError

PREFIX = "GATEWAY_"
SECRETS = ("redis_url", "revocations_key", "hmac_secret", "api_key")
"""May also come from a file, named by the variable with ``_FILE`` appended."""

# Kubernetes describes every Service of the namespace to every pod: these come from one that is
# called "gateway".
_SERVICE_LINK = re.compile(r"GATEWAY_(SERVICE_(HOST|PORT.*)|PORT(_.*)?)")
_MIN_SECRET_BYTES = 32  # as long as the digest of HS256 (RFC 7518 section 3.2)
REDIS = "redis"
"""Says of an issuer's revocations that they are in the gateway's own Redis."""

_KEY_CHARACTERS = 32
_LOOPBACK_FRONT = "https://localhost:8443"


def _revocations(value: str) -> str:
    try:
        url = urlsplit(value)
        is_url = url.scheme in {"http", "https"} and bool(url.hostname) and "@" not in url.netloc
    except ValueError:
        is_url = False
    if value != REDIS and not is_url:
        raise ValueError("must be 'redis', or an http(s) URL without a password")
    return value


class IssuerEntry(BaseModel):
    """An authorization server whose tokens are accepted; see ``ws_gateway.verifier.Issuer``.

    Attributes:
        api_scope: The scope with which its services' tokens open the server API; none if empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    jwks_url: str
    audience: str
    user_prefix: str = ""
    revocations: Annotated[str, AfterValidator(_revocations)] | None = None
    typ: str = "at+jwt"
    scope: str = "connect"
    api_scope: str = ""


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part for item in value.split(",") if (part := item.strip())]


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("must be IP addresses or networks, separated by commas") from None


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < _KEY_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be at least {_KEY_CHARACTERS} printable ASCII characters, no blank")
    return value


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 2**16 - 1:
        raise ValueError("must be host:port, or several separated by commas")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Address = tuple[str, int]
Addresses = Annotated[
    tuple[Annotated[Address, BeforeValidator(_address)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """All settings of one gateway; the environment variable is ``GATEWAY_`` and the field's name.

    Attributes:
        bind: Where clients connect.
        internal_bind: Where health and metrics are; never to be reachable by clients.
        workers: Processes behind the same public listeners, each a gateway of its own; the ports
            of `GATEWAY_INTERNAL_BIND` count up, one for each. More than one needs Redis.
        issuers: Whose tokens are accepted, as a JSON list.
        max_token_seconds: The longest life of a token that is accepted.
        origins: The pages that may connect, as browsers write ``Origin``.
        redis_url: Where publications travel between gateways: ``redis://``, ``rediss://`` (TLS)
            or ``unix://``, as redis-py reads them; ``redis+sentinel://H:P,H:P/MASTER`` or
            ``redis+cluster://H:P,H:P``; without it they stay in this process.
        revocations_key: Shown to issuers whose revocations are at a URL; at least 32 characters.
        revocation_stale_seconds: How long an issuer's revocations may be unreadable before new
            connections with its tokens get 503.
        channels_file: TOML; without it nothing can be subscribed or published.
        hooks: ``module:object`` of a ``ws_gateway.hooks.Hooks``; without it there is no rpc.
        hook_timeout_seconds: How long a hook may take, unless its module says so itself.
        hmac_secret: Accept tokens that your own backend signs with this (HS256, HS384, HS512;
            at least 32 bytes), besides the issuers'.
        insecure: No permission is asked for, and no token needed; for the test suites of SDKs,
            on loopback listeners only.
        api_key: Opens the server API, `/api/`, on the internal port; at least 32 characters, but on
            loopback listeners. Without it only the tokens of issuers with an `api_scope` do, and
            without both there is no such path.
        api_public: Serve `/api/` on the public port too.
        api_max_body_bytes: Limit of one request to it.
        api_timeout_seconds: How long it waits for the other gateways.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` is believed.
        query_token: Accept ``?access_token=``; every hop's log will hold tokens then.
        http_stream: Serve `/connection/http_stream`, for clients that no WebSocket gets through to.
        sse: Serve `/connection/sse`, for those that not even that does; browsers put a credential
            into its URL.
        compression: Agree to WebSocket clients' offers of permessage-deflate.
        compression_min_bytes: Smaller messages are not compressed.
        drain_seconds: Over how long connections are asked to leave (3001) on SIGTERM. A few take
            less: never fewer than 20 a second are asked.
        max_connection_age: Seconds after which a connection is asked to come back (3011), so that
            new gateways get their share; 80 to 100 % of it, at random. 0 for no limit.
        connect_timeout_seconds: For a connection's first command.
        expiry_grace_seconds: For a refresh after a token's ``exp``.
        ping_interval: Seconds between pings.
        pong_timeout: Seconds for the answer to one.
        max_message_bytes: Limit of one incoming message.
        max_channels: Subscriptions of one connection.
        recovery_max_publication_limit: Publications that a client is resumed with; one that
            missed more is told so.
        history_max_publication_limit: Publications in one answer to `history`.
        presence_ttl_seconds: How long a gateway's entries in presence outlive its last sign of
            life.
        presence_max_clients: Connections in one answer to `presence`; a channel that has more is
            answered error 106, while `presence_stats` still counts them.
        last_seen_users: How many users' last connection is remembered; where it is not 0, users
            may ask for it by the rpc method `last_seen`.
        position_check_seconds: Seconds between looks whether a silent channel has moved on.
        commands_per_second: What one connection may send in the long run; 0 for no limit.
        commands_burst: ... and at once. Beyond it commands fail, and beyond twice as many
            the connection is closed.
        user_commands_per_second: The same for all of a user's connections to this process.
        user_commands_burst: ... and at once.
        max_queue_bytes: What may wait for a peer that reads too slowly.
        max_stall_seconds: How long a peer may not read at all.
        max_connections: Connections of this process, beyond which handshakes get 503; 0 for as
            many as it may open files.
        max_connections_per_user: Connections of one user to this process: the next is answered 429
            at the handshake, 3504 at `connect`. A connection that broke off counts until that is
            noticed, so leave room; 0 for no limit.
        max_connections_per_address: Connections from one address to this process, for IPv6 from
            one network of 64 bits; the next is answered 429. 0 for no limit.
        handshakes_per_second: How many connections may be opened in the long run; beyond it 503,
            with a time to come back at. 0 for no limit.
        handshakes_burst: ... and at once. The last fifth is for clients whose token this process
            has seen before.
        max_unauthenticated: Sockets that have not said who they are, in this process.
        max_unauthenticated_per_address: The same from one address, or one IPv6 network of 64 bits.
        log_level: The least severe level that is logged.
        log_lines_per_minute: Lines of one kind in a minute, which is an event with its status, code
            and reason; how many more there were is one line after it. 0 for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bind: Addresses = (("127.0.0.1", 8011),)
    internal_bind: Addresses = (("127.0.0.1", 9011),)
    workers: int = Field(default=1, ge=1, le=64)
    issuers: Json[tuple[IssuerEntry, ...]] | tuple[IssuerEntry, ...] = (
        IssuerEntry(
            issuer=_LOOPBACK_FRONT,
            jwks_url="http://127.0.0.1:8001/.well-known/jwks.json",
            audience="drawbridge",
            api_scope="api",
        ),
    )
    max_token_seconds: int = Field(default=86_400, ge=60)
    origins: Names = (_LOOPBACK_FRONT,)
    redis_url: SecretStr | None = None
    revocations_key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    revocation_stale_seconds: float = Field(default=10, ge=2, le=3600)
    channels_file: Path | None = None
    hooks: str = Field(default="", pattern=r"^$|^[\w.]+:\w+$")
    hook_timeout_seconds: Seconds = 10
    hmac_secret: SecretStr | None = None
    insecure: bool = False
    api_key: SecretStr | None = None
    api_public: bool = False
    api_max_body_bytes: int = Field(default=4_194_304, ge=1024, le=2**26)
    api_timeout_seconds: float = Field(default=2, gt=0, le=60)
    trusted_proxies: Networks = ()
    query_token: bool = False
    http_stream: bool = False
    sse: bool = False
    compression: bool = False
    compression_min_bytes: int = Field(default=512, ge=64, le=2**24)
    drain_seconds: float = Field(default=20, ge=0, le=3600)
    max_connection_age: float = Field(default=0, ge=0, le=31_536_000)
    connect_timeout_seconds: Seconds = 10
    expiry_grace_seconds: float = Field(default=25, ge=0, le=3600)
    ping_interval: Seconds = 25
    pong_timeout: Seconds = 8
    max_message_bytes: int = Field(default=65_536, ge=1024, le=2**24)
    max_channels: int = Field(default=128, ge=1)
    recovery_max_publication_limit: int = Field(default=300, ge=1, le=10_000)
    history_max_publication_limit: int = Field(default=300, ge=1, le=10_000)
    presence_ttl_seconds: float = Field(default=60, ge=1, le=3600)
    presence_max_clients: int = Field(default=1000, ge=1, le=100_000)
    last_seen_users: int = Field(default=0, ge=0, le=10_000_000)
    position_check_seconds: Seconds = 40
    commands_per_second: float = Field(default=1000, ge=0, le=1_000_000)
    commands_burst: int = Field(default=10_000, ge=1, le=1_000_000)
    user_commands_per_second: float = Field(default=5000, ge=0, le=1_000_000)
    user_commands_burst: int = Field(default=20_000, ge=1, le=1_000_000)
    max_queue_bytes: int = Field(default=1_048_576, ge=65_536)
    max_stall_seconds: Seconds = 10
    max_connections: int = Field(default=0, ge=0)
    max_connections_per_user: int = Field(default=0, ge=0)
    max_connections_per_address: int = Field(default=0, ge=0)
    handshakes_per_second: float = Field(default=1000, ge=0, le=1_000_000)
    handshakes_burst: int = Field(default=10_000, ge=1, le=1_000_000)
    max_unauthenticated: int = Field(default=10_000, ge=1)
    max_unauthenticated_per_address: int = Field(default=1_000, ge=1)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_lines_per_minute: int = Field(default=600, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _some_issuer(self) -> Self:
        if not self.issuers and self.hmac_secret is None and not self.insecure:
            raise ConfigurationError(
                "GATEWAY_ISSUERS: must name at least one issuer, or GATEWAY_HMAC_SECRET be set"
            )
        return self

    @model_validator(mode="after")
    def _workers_are_together(self) -> Self:
        if self.workers > 1 and self.redis_url is None:
            # Whoever two clients reach is chance: in half of the cases they would not meet.
            raise ConfigurationError("GATEWAY_REDIS_URL: needed, for GATEWAY_WORKERS is above 1")
        if any(port + self.workers > 2**16 for _, port in self.internal_bind):
            raise ConfigurationError(
                "GATEWAY_INTERNAL_BIND: the ports of so many GATEWAY_WORKERS end beyond 65535"
            )
        return self

    @model_validator(mode="after")
    def _secret_is_one(self) -> Self:
        if self.hmac_secret is None or self.insecure:
            return self
        if len(self.hmac_secret.get_secret_value().encode()) < _MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"GATEWAY_HMAC_SECRET: must be at least {_MIN_SECRET_BYTES} bytes long"
            )
        if not all(entry.user_prefix for entry in self.issuers):
            # One user's id could be another's at an issuer.
            raise ConfigurationError(
                "GATEWAY_HMAC_SECRET: beside it every issuer in GATEWAY_ISSUERS needs a user_prefix"
            )
        return self

    @model_validator(mode="after")
    def _insecure_stays_here(self) -> Self:
        for name in ("bind", "internal_bind"):
            for host, _ in getattr(self, name):
                if self.insecure and not _is_loopback(host):
                    raise ConfigurationError(
                        f"GATEWAY_INSECURE: not with {PREFIX}{name.upper()} on {host}, which is "
                        "not a loopback address"
                    )
        return self

    @model_validator(mode="after")
    def _api_key_is_one(self) -> Self:
        if self.api_key is None:
            return self
        hosts = [host for host, _ in self.internal_bind + (self.bind if self.api_public else ())]
        if all(map(_is_loopback, hosts)):
            # For the test suites of SDKs, whose keys are words.
            text = self.api_key.get_secret_value()
            if not text.isascii() or not text.isprintable() or " " in text:
                raise ConfigurationError("GATEWAY_API_KEY: must be printable ASCII without a blank")
            return self
        self.check_api_key()
        return self

    def check_api_key(self) -> None:
        """Refuse a key that could be guessed.

        Raises:
            ConfigurationError: It could.
        """
        try:
            if self.api_key is not None:
                _key(self.api_key)
        except ValueError as error:
            raise ConfigurationError(f"GATEWAY_API_KEY: {error}") from None

    @property
    def api(self) -> bool:
        """Whether anybody may use the server API."""
        return self.api_key is not None or any(entry.api_scope for entry in self.issuers)

    @model_validator(mode="after")
    def _api_is_there(self) -> Self:
        if self.api_public and not self.api:
            raise ConfigurationError(
                "GATEWAY_API_PUBLIC: needs GATEWAY_API_KEY, or an issuer with an api_scope"
            )
        return self

    @model_validator(mode="after")
    def _pong_before_ping(self) -> Self:
        if self.pong_timeout >= self.ping_interval:
            raise ConfigurationError(
                "GATEWAY_PONG_TIMEOUT: must be less than GATEWAY_PING_INTERVAL "
                f"({self.pong_timeout:g} >= {self.ping_interval:g})"
            )
        return self

    @model_validator(mode="after")
    def _revocations_can_be_read(self) -> Self:
        logs = [entry.revocations for entry in self.issuers if entry.revocations is not None]
        if len(set(logs)) < len(logs):
            raise ConfigurationError("GATEWAY_ISSUERS: each issuer needs revocations of its own")
        if REDIS in logs and self.redis_url is None:
            raise ConfigurationError("GATEWAY_REDIS_URL: needed, an issuer's revocations are there")
        if set(logs) - {REDIS} and self.revocations_key is None:
            raise ConfigurationError(
                "GATEWAY_REVOCATIONS_KEY: needed, an issuer's revocations are at a URL"
            )
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an empty value counts as none.

        Raises:
            ConfigurationError: One line that names the variable which is wrong, unsafe or unknown.
        """
        files = {f"{PREFIX}{name.upper()}_FILE": name for name in SECRETS}
        given: dict[str, Any] = {}
        for variable, value in environment.items():
            if not variable.startswith(PREFIX) or _SERVICE_LINK.fullmatch(variable):
                continue
            if variable in files:
                if value and environment.get(variable.removesuffix("_FILE")):
                    raise ConfigurationError(f"{variable}: set it or the plain one, not both")
                if value:
                    given[files[variable]] = _read_secret(variable, value)
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in cls.model_fields:
                raise ConfigurationError(f"{variable}: unknown setting")
            if value:
                given[name] = value
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            field, *inside = first["loc"]
            variable = PREFIX + str(field).upper()
            # What else is in there is pydantic's own, such as the types of a union.
            names = [part for part in inside if isinstance(part, str) and part.isidentifier()]
            reason = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(": ".join([variable, *names, reason])) from None

    def load_channels(self) -> Channels:
        """Read the channels file; without one there are no channels.

        Raises:
            ConfigurationError: It cannot be read, or is not right.
        """
        if self.channels_file is None:
            return Channels()
        try:
            return Channels.from_toml(self.channels_file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(
                f"GATEWAY_CHANNELS_FILE: {self.channels_file}: {reason}"
            ) from None


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigurationError(f"{variable}: cannot read the file: {reason}") from None
