"""A peer that stops to read: a socket by hand, because every library reads ahead."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time

from tests.chaos.history import Connected, Drained, Journal, Slow
from tests.chaos.raw_client import GATEWAY

_BUFFER_BYTES = 4096
_SECONDS = 10.0
_CHOSEN = re.compile(rb"\r\n%s: (\S+)\r\n" % GATEWAY.encode(), re.IGNORECASE)


class SlowReader:
    """Subscribes to one channel and reads no more.

    Args:
        name: In the history.
        port: Of the front without TLS.
        channel: What it subscribes to.
        token: What it shows.
        journal: Of its process.
    """

    def __init__(self, *, name: str, port: int, channel: str, token: str, journal: Journal) -> None:
        self._name = name
        self._port = port
        self._channel = channel
        self._token = token
        self._journal = journal

    async def stall(self, seconds: float) -> None:
        """Connect, read nothing for so long, and then what is still to be had.

        Raises:
            OSError: There was no socket.
        """
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            # Little waits in the system, so that the gateway is concerned soon.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            async with asyncio.timeout(_SECONDS):
                await loop.sock_connect(peer, ("127.0.0.1", self._port))
                await loop.sock_sendall(peer, self._handshake())
                answer = await loop.sock_recv(peer, _BUFFER_BYTES)
                if not answer.startswith(b"HTTP/1.1 101"):
                    raise ConnectionRefusedError(answer[:40])
                chosen = _CHOSEN.search(answer)
                gateway = chosen[1].decode() if chosen else ""
                command = b'{"id":1,"subscribe":{"channel":"%s"}}' % self._channel.encode()
                await loop.sock_sendall(peer, _masked(command))
                while b'"id":1' not in answer:
                    answer = answer[-100:] + await loop.sock_recv(peer, _BUFFER_BYTES)
            if b'"error"' in answer:
                raise ConnectionRefusedError(answer)
            self._journal.note(Connected(time.monotonic(), self._name, gateway))
            self._journal.note(Slow(time.monotonic(), self._name))
            await asyncio.sleep(seconds)
            read = 0
            try:
                async with asyncio.timeout(_SECONDS):
                    while data := await loop.sock_recv(peer, 1 << 16):
                        read += len(data)
            except ConnectionResetError:
                pass
            self._journal.note(Drained(time.monotonic(), self._name, read))

    def _handshake(self) -> bytes:
        lines = (
            "GET /connection/websocket HTTP/1.1",
            "Host: localhost",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyA6KQ==",
            f"Authorization: Bearer {self._token}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _masked(text: bytes) -> bytes:
    """Write a text frame as clients do, for fewer than 126 bytes (RFC 6455 section 5)."""
    key = os.urandom(4)
    body = bytes(byte ^ key[at % 4] for at, byte in enumerate(text))
    return bytes((0x81, 0x80 | len(text))) + key + body
