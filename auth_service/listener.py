"""A listening socket that takes a few connections at a time.

The loop's own way is to take all that wait. A thousand that come at once would be a thousand new
protocols and requests before anybody else's request is looked at again; here they wait in the
kernel's queue, and those who have a connection are served in between.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

#: Taken in one turn of the loop.
AT_ONCE = 8
# Without file descriptors left it would be told again at once that somebody waits.
_PAUSE_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Accepts until it is closed; the socket stays its owner's.

    Args:
        listening: Bound, and told to listen.
        make_protocol: Makes what serves one connection.
    """

    def __init__(
        self, listening: socket.socket, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make_protocol = make_protocol
        self._beginning: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Wait until what was accepted last is being served."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("accept_failed", extra={"reason": error.strerror})
                self._loop.remove_reader(self._listening.fileno())
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # it has gone already
            connection.close()
