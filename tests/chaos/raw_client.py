"""A client of JSON by hand on a WebSocket: cheap, and without an SDK's opinion.

One that says ``connect`` first speaks the client protocol; one that does not is bare.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.chaos.history import (
    CUT,
    LOST,
    Answered,
    Closed,
    Connected,
    Journal,
    Received,
    Refused,
    Sent,
    Subscribed,
    Unsubscribed,
)

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_OPEN_SECONDS = 10.0
_ANSWER_SECONDS = 15.0
_AGAIN_SECONDS = 0.2
_LONGEST_PAUSE = 1.5
_MOST_WAITING = 20
UNAUTHORIZED = 401

GATEWAY = "X-Chaos-Gateway"
"""The header in which nginx says whom it chose."""

Token = Callable[[bool], Awaitable[str]]
"""Gets a token; a new one if the last was refused."""


def gateway_of(opened: ClientConnection) -> str:
    """Name the gateway of a socket; empty if nobody said so."""
    return opened.response.headers.get(GATEWAY, "") if opened.response else ""


def is_final(code: int) -> bool:
    """Say whether it is in vain to come again."""
    return code == 1009 or 3500 <= code < 4000 or code >= 4500


class Gone(Exception):
    """The socket is gone, or is to be left."""


class RawClient:
    """Subscribes to one channel, publishes there, comes again, and notes what happens.

    Args:
        name: In the history.
        url: Of the door.
        channel: Its channel.
        token: Where it gets tokens.
        journal: Of its process.
        bare: It does not say ``connect``.
    """

    def __init__(
        self, *, name: str, url: str, channel: str, token: Token, journal: Journal, bare: bool
    ) -> None:
        self.name = name
        self.channel = channel
        self.subscribed = False
        self.acknowledged = ""
        self._url = url
        self._get_token = token
        self._note = journal.note
        self._bare = bare
        self._socket: ClientConnection | None = None
        self._commands = itertools.count(1)
        self._publications = itertools.count(1)
        self._attempts: dict[int, str] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._position: tuple[str, int] | None = None
        self._again: asyncio.Task[None] | None = None

    @property
    def position(self) -> tuple[str, int] | None:
        """Epoch and offset of the last that it has; None before the first subscription."""
        return self._position

    # Coming and going

    async def run(self) -> None:
        """Connect, and come again until it is in vain."""
        fresh, pause = False, _AGAIN_SECONDS
        while True:
            try:
                token = await self._get_token(fresh)
                fresh = False
                code = await self._visit(token)
            except InvalidStatus as refused:
                status = refused.response.status_code
                self._note(Refused(time.monotonic(), self.name, status))
                fresh = status == UNAUTHORIZED
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
                self._note(Refused(time.monotonic(), self.name, 0))
            else:
                if is_final(code):
                    return
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _visit(self, token: str) -> int:
        """Stay until the socket is gone; returns the code."""
        async with connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            ping_interval=None,
            open_timeout=_OPEN_SECONDS,
            close_timeout=1,
            max_queue=None,
            proxy=None,
        ) as opened:
            self._socket = opened
            reading = asyncio.create_task(self._read(opened))
            try:
                try:
                    await self._enter(opened, token)
                except (ConnectionClosed, Gone, TimeoutError):
                    opened.transport.abort()
                return await reading
            finally:
                # Who is told to go closes with a code of its own, whose echo is no close of theirs.
                reading.cancel()

    async def _enter(self, opened: ClientConnection, token: str) -> None:
        if not self._bare:
            reply = await self._ask({"connect": {}})
            if "connect" not in reply:
                raise Gone
        gateway = gateway_of(opened)
        self._note(Connected(time.monotonic(), self.name, gateway, _jti(token)))
        await self._subscribe(opened)

    async def _subscribe(self, opened: ClientConnection) -> None:
        """Subscribe until that succeeds, or the socket is gone."""
        while opened is self._socket:
            request: dict[str, Any] = {"channel": self.channel}
            if self._position is not None:
                epoch, offset = self._position
                request |= {"recover": True, "epoch": epoch, "offset": offset}
            reply = await self._ask({"subscribe": request})
            if "error" not in reply:
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        number = next(self._commands)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        assert self._socket is not None
        await self._socket.send(_encode({"id": number, **command}).decode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            return dict(await future)

    # What comes

    async def _read(self, opened: ClientConnection) -> int:
        code = CUT
        try:
            while True:
                message = await opened.recv(decode=False)
                for line in message.split(b"\n"):
                    self._take(_decode(line))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else code
        now = time.monotonic()
        self._socket, self.subscribed = None, False
        for attempt in self._attempts.values():
            self._note(Answered(now, self.name, attempt, LOST))
        self._attempts.clear()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Gone())
                future.exception()  # whoever asked may have gone before
        self._answers.clear()
        self._note(Closed(now, self.name, code))
        return code

    def _take(self, reply: dict[str, Any]) -> None:
        if not reply:
            self._write("{}")
            return
        push = reply.get("push")
        if push is not None:
            self._pushed(push)
            return
        number = reply.get("id", 0)
        attempt = self._attempts.pop(number, None)
        if attempt is not None:
            code = reply["error"]["code"] if "error" in reply else 0
            if not code:
                self.acknowledged = attempt
            self._note(Answered(time.monotonic(), self.name, attempt, code))
            return
        if "subscribe" in reply:
            # Here and not where it is waited for: what follows may be in the same message.
            self._begin(reply["subscribe"])
        future = self._answers.pop(number, None)
        if future is not None and not future.done():
            future.set_result(reply)

    def _begin(self, result: dict[str, Any]) -> None:
        epoch, offset = result.get("epoch", ""), result.get("offset", 0)
        asked = self._position is not None
        recovered = bool(result.get("recovered"))
        self._note(
            Subscribed(time.monotonic(), self.name, self.channel, epoch, offset, asked, recovered)
        )
        # Before what was missed, which moves it on: the offset is that of the question then.
        self._position = epoch, offset
        publications = result.get("publications", ()) if recovered else ()
        for publication in publications:
            self._receive(publication)
        self.subscribed = True

    def _pushed(self, push: dict[str, Any]) -> None:
        if "pub" in push:
            self._receive(push["pub"])
        elif "unsubscribe" in push:
            self.subscribed = False
            code = push["unsubscribe"]["code"]
            self._note(Unsubscribed(time.monotonic(), self.name, self.channel, code))
            if code >= 2500 and self._socket is not None:
                self._again = asyncio.create_task(self._resubscribe(self._socket))
        elif "disconnect" in push:
            raise AssertionError(push)

    async def _resubscribe(self, opened: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed, Gone, TimeoutError):
            await self._subscribe(opened)

    def _receive(self, publication: dict[str, Any]) -> None:
        data, offset = publication["data"], publication.get("offset", 0)
        self._note(
            Received(time.monotonic(), self.name, self.channel, offset, data["id"], data["sent"])
        )
        if self._position is not None:
            self._position = self._position[0], offset

    # What goes

    def _write(self, text: str) -> None:
        if self._socket is not None:
            task = asyncio.ensure_future(self._socket.send(text))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def publish(self, word: str = "", *, filler: str = "") -> str | None:
        """Try to publish once; returns the attempt's id, None if there is no way to."""
        if self._socket is None or not self.subscribed or len(self._attempts) > _MOST_WAITING:
            return None
        now = time.monotonic()
        attempt = f"{word}{self.name}/{next(self._publications)}"
        number = next(self._commands)
        self._attempts[number] = attempt
        self._note(Sent(now, self.name, self.channel, attempt))
        data: dict[str, object] = {"id": attempt, "sent": now}
        if filler:
            data["filler"] = filler
        command = {"id": number, "publish": {"channel": self.channel, "data": data}}
        self._write(_encode(command).decode())
        return attempt

    def waits_for(self, attempt: str) -> bool:
        """Say whether an attempt has no answer yet."""
        return attempt in self._attempts.values()

    async def leave(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            await self._socket.close()


def _jti(token: str) -> str:
    """Read a token's number, unverified."""
    payload = token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    return str(_decode(base64.urlsafe_b64decode(padded))["jti"])
