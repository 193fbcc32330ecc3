"""A conversation with the gateway as a page shows it, held with a real one.

``> `` is sent and ``< `` must come, in this order; a name before it says whose connection it is
(``bob> ``), and a line that begins with blanks goes on with the one before. In what must come,
``…`` is anything, and a word in capitals is whatever comes there, and the same from then on, also
where it is sent. ``< closed: 3501 bad request`` is the end that the server makes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.integration.embedded import Embedded

_LINE = re.compile(r"(\w*)([<>]) (.*)")
_NAME = re.compile(r"[A-Z][A-Z_]+")
_ANYTHING = "…"
_CLOSED = "closed:"
# Rises and falls while one looks.
_NUMBERS = {"ttl", "last_seen"}


def is_conversation(text: str) -> bool:
    """Say whether a block is one."""
    return bool(text) and all(_LINE.match(line) for line in _lines(text))


async def hold(
    text: str, server: Embedded, *, names: Mapping[str, str], tokens: Mapping[str, str]
) -> None:
    """Say what is to be said, and see that what is to come comes.

    Args:
        text: The block.
        server: Who answers.
        names: What the words in capitals stand for.
        tokens: Each speaker's, which ``TOKEN`` stands for.
    """
    known = dict(names)
    async with AsyncExitStack() as stack:
        speakers: dict[str, _Speaker] = {}
        for line in _lines(text):
            match = _LINE.match(line)
            assert match is not None, line
            who, way, frame = match[1] or "alice", match[2], match[3]
            if who not in speakers:
                token = tokens[who]
                opened = server.bare(None if '"connect"' in frame else token)
                speakers[who] = _Speaker(await stack.enter_async_context(opened), token)
            speaker = speakers[who]
            if way == ">":
                await speaker.socket.send(_filled(frame, {**known, "TOKEN": speaker.token}))
            elif frame.startswith(_CLOSED):
                closed = await speaker.end()
                assert closed == frame, closed
            else:
                came = await speaker.hear()
                assert agrees(frame, came, known), f"{frame}\ncame as\n{json.dumps(came)}"


def agrees(frame: str, came: Any, known: dict[str, str]) -> bool:  # noqa: ANN401 - JSON
    """Say whether a page's frame is the one that came; learns what words in capitals stand for."""
    return _agree(json.loads(_spelled(_filled(frame, known))), came, known)


class _Speaker:
    """One connection, and what came over it and was not yet looked at."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        self.socket = socket
        self.token = token
        self._heard: deque[Any] = deque()

    async def hear(self) -> Any:  # noqa: ANN401 - JSON
        """Return the next frame that is no ping."""
        async with asyncio.timeout(10):
            while not self._heard:
                lines = str(await self.socket.recv()).splitlines()
                self._heard += filter(None, map(json.loads, lines))
        return self._heard.popleft()

    async def end(self) -> str:
        """Wait until the server has closed the connection; returns how a page says it."""
        async with asyncio.timeout(10):
            await self.socket.wait_closed()
        return f"{_CLOSED} {self.socket.close_code} {self.socket.close_reason}"


def _lines(text: str) -> list[str]:
    return re.sub(r"\n +", " ", text).splitlines()


def _filled(frame: str, known: Mapping[str, str]) -> str:
    return _NAME.sub(lambda name: known.get(name[0], name[0]), frame)


def _spelled(frame: str) -> str:
    """Make JSON of a frame in which something is left out."""
    frame = re.sub(r"([{,])…}", r'\1"…":"…"}', frame)
    return re.sub(r'("[^"]*")|…', lambda found: found[1] or '"…"', frame)


def _agree(expected: Any, came: Any, known: dict[str, str]) -> bool:  # noqa: ANN401 - JSON
    match expected:
        case str():
            return _text_agrees(expected, came, known)
        case [only] if only == _ANYTHING:
            return isinstance(came, list)
        case list():
            return len(expected) == len(came) and all(
                _agree(one, other, known) for one, other in zip(expected, came, strict=True)
            )
        case dict():
            return isinstance(came, dict) and _objects_agree(expected, came, known)
        case _:
            return bool(expected == came)


def _text_agrees(expected: str, came: object, known: dict[str, str]) -> bool:
    if expected == _ANYTHING:
        return True
    if not isinstance(came, str):
        return False
    if _NAME.fullmatch(expected):
        return known.setdefault(expected, came) == came
    return expected == came


def _objects_agree(
    expected: dict[str, Any],
    came: dict[str, Any],
    known: dict[str, str],
) -> bool:
    left = dict(came)
    for key, value in expected.items():
        if key == _ANYTHING:
            return True
        if _NAME.fullmatch(key) and left:
            key = known.setdefault(key, next(iter(left)))  # noqa: PLW2901 - as it is really called
        if key not in left:
            return False
        other = left.pop(key)
        if key in _NUMBERS and isinstance(value, int | float):
            if not isinstance(other, int | float):
                return False
        elif not _agree(value, other, known):
            return False
    return not left
