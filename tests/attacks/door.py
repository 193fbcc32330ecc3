"""A gateway as a process of its own, a bystander inside, and peers that write what they like."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from typing_extensions import override

from tests.attacks.running import Process
from tests.integration.embedded import free_ports
from tests.integration.gateways import Issuer
from tests.ws_gateway.raw_server import masked, request
from ws_gateway.frames import CLOSE, PING, TEXT
from ws_gateway.routes.websocket import PATH

PAGE = "https://app.example.com"
PATIENCE_SECONDS = 30.0
"""Only a failing test waits for so long."""

CHANNELS = """
[client]
personal_channel_namespace = "dm"

[without_namespace]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
allow_presence_for_client = true

[namespaces.dm]
allow_publish_for_client = true

[namespaces.readers]
allow_subscribe_for_client = true

[namespaces.hot]
allow_subscribe_for_client = true
allow_publish_for_client = true

[namespaces.kept]
slow_reader = "drop"
allow_subscribe_for_client = true
allow_publish_for_client = true
history_size = 1000
history_ttl = "300s"
force_recovery = true

[namespaces.staff]
"""


class Peer:
    """One socket, and what comes out of it.

    Args:
        port: Of the gateway.
        address: Of loopback, to come from.
        receive_buffer: Of the kernel for it, in bytes; its own choice if 0.
    """

    def __init__(self, port: int, address: str = "127.0.0.1", *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_SECONDS)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((address, 0))
        self.socket.connect(("127.0.0.1", port))
        self._data = b""
        self._lines: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes | str) -> None:
        """Send these bytes in one piece, if anybody is there."""
        data = b"".join(part.encode("latin-1") if isinstance(part, str) else part for part in parts)
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def say(self, *commands: object) -> None:
        """Send one message of these commands."""
        self.send(masked(TEXT, "\n".join(map(json.dumps, commands)).encode()))

    def head(self) -> bytes:
        """Read the head of an answer, empty if the other end hung up."""
        while b"\r\n\r\n" not in self._data:
            if not self._read():
                return b""
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return head

    def frame(self) -> tuple[int, bytes]:
        """Read a frame of the gateway.

        Raises:
            EOFError: There is none: it hung up.
        """
        first, length = self._take(2)
        if length > 125:
            length = int.from_bytes(self._take(2 if length == 126 else 8))
        return first, self._take(length)

    def hear(self) -> Any:  # noqa: ANN401 - JSON
        """Read the next reply or push."""
        while not self._lines:
            first, payload = self.frame()
            if first & 0x0F == CLOSE:
                raise EOFError(int.from_bytes(payload[:2]))
            if first & 0x0F != PING:
                self._lines = [json.loads(line) for line in payload.split(b"\n")]
        return self._lines.pop(0)

    def ask(self, command: object) -> Any:  # noqa: ANN401 - JSON
        """Send a command, and read what comes next."""
        self.say(command)
        return self.hear()

    def closed(self) -> int:
        """Read up to the close frame, and return its code; 1006 if there is none."""
        try:
            while True:
                first, payload = self.frame()
                if first & 0x0F == CLOSE:
                    return int.from_bytes(payload[:2])
        except EOFError:
            return 1006

    def gone(self) -> bytes:
        """Read until the gateway hangs up; returns what it said."""
        while self._read():
            pass
        return self._data

    def _take(self, length: int) -> bytes:
        while len(self._data) < length:
            if not self._read():
                raise EOFError
        taken, self._data = self._data[:length], self._data[length:]
        return taken

    def _read(self) -> bool:
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            return False
        self._data += data
        return bool(data)


class Door(Process):
    """A gateway that one issuer's tokens open.

    Args:
        directory: For all files.
        settings: More ``GATEWAY_*``.

    Attributes:
        port: Where clients connect.
        issuer: Whose tokens count.
        secrets: What it must never say: every token that was made here.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.port, internal = free_ports(2)
        self.issuer = Issuer()
        self.secrets: list[str] = []
        channels = directory / "channels.toml"
        channels.write_text(CHANNELS)
        super().__init__(
            directory,
            "ws_gateway",
            environment={
                "GATEWAY_BIND": f"127.0.0.1:{self.port}",
                "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
                "GATEWAY_ISSUERS": self.issuer.setting,
                "GATEWAY_ORIGINS": PAGE,
                "GATEWAY_CHANNELS_FILE": str(channels),
                "GATEWAY_DRAIN_SECONDS": "0",
                "GATEWAY_EXPIRY_GRACE_SECONDS": "0",
                # Nobody here answers pings, however long a test takes.
                "GATEWAY_PING_INTERVAL": "3600",
                **(settings or {}),
            },
            internal=internal,
        )

    @override
    def start(self) -> Self:
        try:
            super().start()
        except BaseException:
            self.process.kill()
            self.issuer.stop()
            raise
        self._bystander = self.enter("bystander")
        assert self._bystander.ask({"id": 1, "subscribe": {"channel": "here"}}) == {
            "id": 1,
            "subscribe": {},
        }
        self._inside = self._counted()
        return self

    @override
    def stop(self) -> None:
        self._bystander.socket.close()
        try:
            super().stop()
        finally:
            self.issuer.stop()

    def token(self, user: str = "mallory", **claims: object) -> str:
        """Sign a good token, which is a secret from now on."""
        token = self.issuer.token(user, **claims)
        self.secrets.append(token)
        return token

    def bearer(self, user: str = "mallory", **claims: object) -> str:
        """Return the header line of a good token."""
        return f"Authorization: Bearer {self.token(user, **claims)}"

    def peer(self, **options: Any) -> Peer:  # noqa: ANN401 - Peer's own
        """Open a TCP connection."""
        return Peer(self.port, **options)

    def shake(self, *lines: str, target: str = PATH, **options: Any) -> bytes:  # noqa: ANN401 - request's own
        """Ask for an upgrade; returns the head of the answer, and hangs up."""
        with self.peer() as peer:
            peer.send(request(target, *lines, **options))
            return peer.head()

    def open(self, *lines: str, target: str = PATH, **options: Any) -> Peer:  # noqa: ANN401 - Peer's own
        """Open a WebSocket."""
        peer = self.peer(**options)
        peer.send(request(target, *lines))
        head = peer.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    def enter(self, user: str = "mallory", **options: Any) -> Peer:  # noqa: ANN401 - Peer's own
        """Open a WebSocket with a good token in its header."""
        return self.open(self.bearer(user), **options)

    def connect(self, user: str = "mallory", **options: Any) -> Peer:  # noqa: ANN401 - Peer's own
        """Open one, and let it ``connect``."""
        peer = self.enter(user, **options)
        assert "connect" in peer.ask({"id": 1, "connect": {}})
        return peer

    @contextlib.contextmanager
    def counts(self, series: str, by: float = 1) -> Iterator[None]:
        """See that a counter moves by so much, once all is done."""
        before = self.metrics(series)
        yield
        self.until(lambda: self.metrics(series) - before >= by)
        assert self.metrics(series) - before == by

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.01)

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """See what is expected of every attack: it harms nobody, and leaves nothing behind.

        No 500 was answered and no traceback written, no secret is in the log, the bystander is
        served, and all that was counted up is counted down.
        """
        written, failed = len(self.log), self._failed()
        yield
        pushed = self._bystander.ask({"publish": {"channel": "here", "data": written}})
        assert pushed["push"]["pub"]["data"] == written
        self.until(lambda: self._counted() == self._inside)
        assert self._failed() == failed
        said = self.log[written:]
        assert '"level": "ERROR"' not in said, said
        assert "Traceback" not in said, said
        assert not [secret for secret in self.secrets if secret in said]
        lines = said.splitlines()
        assert all("event" in json.loads(line) for line in lines)

    def _counted(self) -> dict[str, float]:
        names = ("connections", "connections_unauthenticated", "subscriptions_active")
        lines = [line.split(" ") for line in self.scrape() if not line.startswith("#")]
        found = {line[0]: float(line[-1]) for line in lines}
        return {name: found[f"gateway_{name}"] for name in (*names, "channels_active")}

    def _failed(self) -> float:
        return self.metrics('gateway_handshakes_total{result="error"}') + self.metrics(
            'gateway_disconnects_total{code="3004"}'
        )


def status(head: bytes) -> int:
    """Return the status of an answer, 0 if there was none."""
    return int(head.split(b" ")[1]) if head else 0


def headers(head: bytes) -> dict[str, str]:
    """Return the header fields of an answer, their names in lower case."""
    fields = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in fields}
