"""What may be chosen for the canary: ``CANARY_*``, and ``CANARY_PASSWORD_FILE``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

PREFIX = "CANARY_"
SECRETS = ("password",)
"""May also come from a file, named by the variable with ``_FILE`` appended."""

SUBJECT = "{sub}"
"""In the name of a channel: becomes the user's id."""

_LONGEST_SECONDS = 3600
_MAX_PORT = 65_535
_MAX_SECRET_BYTES = 4096


class ConfigurationError(Exception):
    """It cannot be started; the text is one line that names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the canary is told.

    Attributes:
        url: The front's public address, `https://host[:port]`. `http` on loopback only.
        user: As whom it logs in: a user of its own.
        password: Of that user; better `CANARY_PASSWORD_FILE`.
        client_id: Of the OAuth2 client that may use the password grant; empty for the service's
            default one.
        channel: Where it publishes and listens; `{sub}` becomes the user's id. It has to be
            allowed to subscribe and to publish there; history lets it resume.
        interval_seconds: From one attempt to the next.
        deadline_seconds: How long each step may take, a publication's way back among them.
        bind: `host:port` where Prometheus finds the numbers.
        ca_file: PEM file of the authority that signed the front's certificate; the system's unless
            given.
    """

    url: str
    user: str = "canary"
    password: str = field(repr=False)
    client_id: str = "canary"
    channel: str = f"canary:#{SUBJECT}"
    interval_seconds: float = 5.0
    deadline_seconds: float = 5.0
    bind: tuple[str, int] = ("127.0.0.1", 9116)
    ca_file: Path | None = None

    @property
    def websocket_url(self) -> str:
        """Where the client protocol is spoken."""
        return f"{self.url.replace('http', 'ws', 1)}/connection/websocket"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ``CANARY_*``; an empty variable counts as none, but for the client's name.

        Raises:
            ConfigurationError: One of them is wrong, unsafe, unknown or missing.
        """
        known = {f"{PREFIX}{item.name.upper()}": item.name for item in fields(cls)}
        files = {f"{PREFIX}{name.upper()}_FILE": name for name in SECRETS}
        given: dict[str, Any] = {}
        for variable, value in environment.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in known and variable not in files:
                raise ConfigurationError(f"{variable}: unknown setting")
            if variable in files and value:
                if environment.get(variable.removesuffix("_FILE")):
                    raise ConfigurationError(f"{variable}: set it or the plain one, not both")
                given[files[variable]] = _secret(variable, value)
            elif variable in known and (value or known[variable] == "client_id"):
                given[known[variable]] = _read(variable, known[variable], value)
        for name in ("url", "password"):
            if name not in given:
                raise ConfigurationError(f"{PREFIX}{name.upper()}: must be set")
        return cls(**given)


def _read(variable: str, name: str, value: str) -> object:
    try:
        return _READERS.get(name, str)(value)
    except ValueError as error:
        raise ConfigurationError(f"{variable}: {error}") from None


def _url(value: str) -> str:
    wrong = ValueError("must be https://host[:port], without a path")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host or parts.path not in {"", "/"} or {"@", "?", "#"} & set(value) or port == 0:
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ValueError("must be https: a password crosses the network")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(value: str) -> float:
    wrong = ValueError(f"must be a number of seconds above 0 and up to {_LONGEST_SECONDS}")
    try:
        seconds = float(value)
    except ValueError:
        raise wrong from None
    if not math.isfinite(seconds) or not 0 < seconds <= _LONGEST_SECONDS:
        raise wrong
    return seconds


def _bind(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError("must be host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _file(value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


_READERS: Mapping[str, Callable[[str], object]] = {
    "url": _url,
    "interval_seconds": _seconds,
    "deadline_seconds": _seconds,
    "bind": _bind,
    "ca_file": _file,
}


def _secret(variable: str, name: str) -> str:
    """Read a secret's file; the line break that editors leave at its end is none of it."""
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        text = content.decode().removesuffix("\n")
    except OSError as error:
        raise ConfigurationError(f"{variable}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable}: is not UTF-8") from None
    if not text or len(content) > _MAX_SECRET_BYTES:
        raise ConfigurationError(f"{variable}: has to hold 1 to {_MAX_SECRET_BYTES} bytes")
    return text
