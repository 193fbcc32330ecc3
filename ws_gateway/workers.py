"""Several gateways on one machine under gunicorn: one address for clients, the rest their own.

Each worker is a gateway like any other, with its own node id, metrics and probes: the first one's
internal listeners are where ``GATEWAY_INTERNAL_BIND`` says, and each further one's a port higher.
The kernel spreads the clients (see ``bind_for_each``). A worker that dies is replaced, on the same
ports; the master holds them meanwhile, so who comes waits for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker as BaseWorker
from typing_extensions import override

from ws_gateway import process
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import BACKLOG
from ws_gateway.settings import Settings

# A worker that does not turn its loop for so long is replaced.
STUCK_SECONDS = 30
# What a worker may need after its drain: peers that do not answer, the servers' own end, a margin.
_FAREWELL_SECONDS = 15
_HEARTBEAT_SECONDS = 1.0


def serve(
    settings: Settings,
    *,
    public: Sequence[Sequence[socket.socket]],
    internal: Sequence[Sequence[socket.socket]],
) -> int:
    """Serve until a signal comes.

    Args:
        settings: Of every worker.
        public: Bound, for clients of each worker.
        internal: Bound, for probes and metrics of each worker.

    Returns:
        The exit status.
    """
    try:
        _Application(settings, public, internal).run()
    except SystemExit as ended:  # the master's way to return
        return ended.code if isinstance(ended.code, int) else 0
    return 0


class _Application(BaseApplication):  # type: ignore[misc]
    """What gunicorn's master is told."""

    def __init__(
        self,
        settings: Settings,
        public: Sequence[Sequence[socket.socket]],
        internal: Sequence[Sequence[socket.socket]],
    ) -> None:
        self.settings = settings
        self.internal = internal
        self._public = public
        super().__init__()

    @override
    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": [f"fd://{listener.detach()}" for own in self._public for listener in own],
            "workers": len(self.internal),
            "worker_class": Worker,
            "logger_class": _Log,
            "backlog": BACKLOG,
            "timeout": STUCK_SECONDS,
            "graceful_timeout": round(self.settings.drain_seconds) + _FAREWELL_SECONDS,
            # A second way in, in a directory that others may use.
            "control_socket_disable": True,
            "pre_fork": _number,
        }
        if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes an unnamed file in it
            # The workers touch their file every second; a disk that hangs would look like them.
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            self.cfg.set(name, value)

    @override
    def load(self) -> Settings:
        return self.settings

    @override
    def run(self) -> None:
        _Master(self).run()


class _Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, which hurries at a second SIGTERM and changes nothing on the run."""

    _stopping = False

    @override
    def stop(self, graceful: bool = True) -> None:
        self._stopping = True
        super().stop(graceful)

    @override
    def reap_workers(self) -> None:
        try:
            super().reap_workers()
        except HaltServer:
            # A second worker that cannot start, while the first one's failure ends the whole:
            # gunicorn would leave the others behind, with a stack on standard error.
            if not self._stopping:
                raise

    @override
    def signal(self, sig: int, frame: Any) -> None:
        # While it stops, gunicorn listens for these two only.
        hurry = self._stopping and sig == signal.SIGTERM
        super().signal(signal.SIGQUIT if hurry else sig, frame)

    def _ignore(self) -> None:
        """Each worker has ports of its own, and settings are read once."""

    handle_hup = handle_ttin = handle_ttou = handle_usr2 = _ignore


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's own words, as lines of JSON like all others."""

    @override
    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
        self._access_log_enabled = False


def _number(master: Arbiter, worker: Worker) -> None:
    """Give a new worker the lowest number that is free, and with it the ports of that one."""
    taken = {other.number for other in master.WORKERS.values()}
    worker.number = min(set(range(master.cfg.workers)) - taken)


class Worker(BaseWorker):  # type: ignore[misc]
    """One gateway, until the master says stop or is gone.

    Attributes:
        number: Counted from 0; of two at the same time never the same.
    """

    app: _Application
    number: int

    @override
    def run(self) -> None:
        try:
            uvloop.run(self._run())
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        # The master's "quickly" is our "hurry". Its own handler would end the process at once.
        loop.add_signal_handler(signal.SIGQUIT, signal.raise_signal, signal.SIGINT)
        for number, others in enumerate(self.app.internal):
            if number != self.number:
                for listener in others:
                    listener.close()
        # gunicorn has all workers' in one list.
        count = len(self.sockets) // len(self.app.internal)
        public = self.sockets[count * self.number :][:count]
        for listener in self.sockets:
            if listener not in public:
                listener.close()
        beating = asyncio.create_task(self._beat())
        await process.run(
            self.app.settings,
            public=[listener.sock for listener in public],
            internal=list(self.app.internal[self.number]),
        )
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating

    async def _beat(self) -> None:
        """Tell the master that the loop turns, and stop if there is no master any more.

        Without it the workers of a killed master would keep the ports for ever.
        """
        asked = False
        while True:
            self.notify()
            if os.getppid() != self.ppid and not asked:
                asked = True
                signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(_HEARTBEAT_SECONDS)
