"""A real nginx with the project's configuration, in front of services that only take notes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from typing_extensions import override

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.stack import nginx, programs, readiness
from tests.integration.embedded import free_ports

SECONDS = 10


@dataclass
class Request:
    """What a service was sent."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]


class Service(socketserver.ThreadingTCPServer):
    """Answers everything with its name, and echoes what comes after an upgrade."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.name = name
        self.requests: list[Request] = []
        self.answer_headers = ""
        self.open: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def die(self) -> None:
        """Be gone, with every connection."""
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are cut are part of the tests."""


class _Conversation(socketserver.StreamRequestHandler):
    server: Service

    @override
    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    @override
    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    @override
    def handle(self) -> None:
        while (line := self.rfile.readline()) not in {b"", b"\r\n"}:
            method, target, _ = line.decode("latin-1").split(" ", 2)
            headers = []
            while (field_line := self.rfile.readline()) not in {b"", b"\r\n"}:
                name, _, value = field_line.decode("latin-1").partition(":")
                headers.append((name.lower(), value.strip()))
            length = int(dict(headers).get("content-length", "0"))
            request = Request(method, target, headers, self.rfile.read(length))
            self.server.requests.append(request)
            if request.all("upgrade"):
                self.wfile.write(
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                while chunk := self.connection.recv(65536):
                    self.wfile.write(chunk)
                return
            body = self.server.name.encode()
            self.wfile.write(
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
                f"{self.server.answer_headers}\r\n".encode()
                + body
            )


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]


@dataclass
class Front:
    """One nginx.

    Args:
        directory: Of its configuration and its logs.
        limits: None for none.
        silence: Seconds a socket may be silent.
        replaced: Texts of the configuration that are others here, to be quick.
        dead_gateway: Have an address more, on which nobody listens.
        user: Numeric user to run as, if not the current one.
        api_bytes: The largest request to the server API; None where it is not served.
    """

    directory: Path
    limits: nginx.Limits | None = None
    silence: int = 30
    replaced: Mapping[str, str] = field(default_factory=dict)
    dead_gateway: bool = False
    user: int | None = None
    api_bytes: int | None = None

    def __post_init__(self) -> None:
        self.auth = Service("auth")
        self.gateway = Service("gateway")
        self.plain, self.tls, self.status, self.nobody = free_ports(4)
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        local = LocalDirectory(str(self.directory))
        certificate.ensure(local)
        self.context = ssl.create_default_context(cafile=local.path(certificate.CA))

    @property
    def place(self) -> nginx.Place:
        """Where it runs."""
        gateways = [self.gateway.address]
        if self.dead_gateway:
            gateways.append(f"127.0.0.1:{self.nobody}")
        root = os.geteuid() == 0 and self.user is None
        return nginx.Place(
            tls=[f"127.0.0.1:{self.tls}", f"[::1]:{self.tls}"],
            plain=[f"127.0.0.1:{self.plain}"],
            status=[f"127.0.0.1:{self.status}"],
            auth=[self.auth.address],
            gateways=gateways,
            certificate=certificate.SERVER,
            key=certificate.KEY,
            limits=self.limits,
            workers=2,
            open_files=1024,
            user="www-data" if root else "",
            linger_seconds=60,
            silence_seconds=self.silence,
            api_bytes=self.api_bytes,
            logs="logs",
            run=".",
        )

    @property
    def command(self) -> tuple[str, ...]:
        """How it is run."""
        return nginx.command(programs.find("nginx"), self.directory, self.logs)

    def write(self, **changes: object) -> None:
        """Write the configuration, with another place's properties perhaps."""
        files = nginx.render(replace(self.place, **changes))  # type: ignore[arg-type]
        for old, new in self.replaced.items():
            assert any(old in text for text in files.values())
            files = {name: text.replace(old, new) for name, text in files.items()}
        nginx.write(files, self.directory)
        if self.user is not None:
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, self.user, self.user)

    def start(self) -> Self:
        """Start it and wait until it serves."""
        self.write()
        as_somebody = self.user is not None
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            self.command,
            stderr=subprocess.PIPE,
            user=self.user,
            group=self.user,
            extra_groups=[] if as_somebody else None,
        )
        deadline = time.monotonic() + SECONDS
        works = readiness.answers(self.status, "/health")
        while not works():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=SECONDS)
        finally:
            self.process.kill()
            for service in (self.auth, self.gateway):
                service.die()

    # --- clients ---

    def connect(self, *, tls: bool = False) -> socket.socket:
        """Open a connection."""
        connection = socket.create_connection(
            ("127.0.0.1", self.tls if tls else self.plain), timeout=SECONDS
        )
        if tls:
            return self.context.wrap_socket(connection, server_hostname="localhost")
        return connection

    def raw(self, head: str, body: bytes = b"", *, tls: bool = False) -> Answer:
        """Send a request as it is, and read the whole answer."""
        with self.connect(tls=tls) as connection:
            connection.sendall(head.encode("latin-1") + body)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
        return parse(received)

    def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = {},
        body: bytes = b"",
        tls: bool = False,
    ) -> Answer:
        """Send one request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join([*lines, "", ""]), body, tls=tls)

    @contextlib.contextmanager
    def upgraded(
        self,
        target: str = "/connection/websocket",
        headers: Mapping[str, str] = {},
        *,
        tls: bool = False,
    ) -> Iterator[tuple[socket.socket, Answer]]:
        """Open a WebSocket as far as nginx is concerned; the second is the answer's head."""
        lines = [f"GET {target} HTTP/1.1", "Host: localhost"]
        lines += ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with self.connect(tls=tls) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            received = b""
            while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
                received += chunk
            yield connection, parse(received)

    def said(self) -> str:
        """Return all that is in its logs, and in every other file it has written."""
        return "\n".join(
            path.read_text("utf-8", "replace")
            for path in self.directory.rglob("*")
            if path.is_file() and path.suffix not in {".pem", ".key"}
        )


def parse(received: bytes) -> Answer:
    """Read an answer; status 0 if there is none."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = [(name.lower(), value.strip()) for name, _, value in pairs]
    return Answer(int(first.split()[1]) if first else 0, headers, body)
