"""Several worker processes under gunicorn, each with a service of its own behind both listeners.

A probe or Prometheus is answered by whichever worker takes the connection: it speaks for a process
that really serves clients, and adds up the metrics of all of them from the files in
``PROMETHEUS_MULTIPROC_DIR``. A worker that dies is replaced; what it had counted stays counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from prometheus_client import multiprocess
from typing_extensions import override
from uvicorn_worker import UvicornWorker

from auth_service import logs
from auth_service.app import create_app, create_internal_app, open_service
from auth_service.exceptions import ConfigurationError
from auth_service.serving import BACKLOG, DRAIN_SECONDS, create_server, stop, stop_on_signals
from auth_service.settings import Settings

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# A worker that does not turn its loop for so long is replaced.
STUCK_SECONDS = 30
_HEARTBEAT_SECONDS = 1.0


def serve(
    settings: Settings,
    *,
    public: Sequence[socket.socket],
    internal: Sequence[socket.socket],
    workers: int,
) -> int:
    """Serve until a signal comes.

    Args:
        settings: Of every worker.
        public: Listening sockets for clients.
        internal: Listening sockets for probes and metrics.
        workers: How many processes.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: The directory of the metrics is not there.
    """
    _empty(_metrics_directory())
    try:
        _Application(settings, public, internal, workers).run()
    except SystemExit as ended:  # the master's way to return
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _metrics_directory() -> Path:
    directory = os.environ.get(METRICS_VARIABLE)
    if not directory or not Path(directory).is_dir():
        raise ConfigurationError(
            f"{METRICS_VARIABLE}: several workers need an existing directory of their own"
        )
    return Path(directory)


def _empty(directory: Path) -> None:
    """Forget what workers of an earlier start have counted: a counter begins at zero."""
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)


class _Application(BaseApplication):  # type: ignore[misc]
    """What gunicorn's master is told."""

    def __init__(
        self,
        settings: Settings,
        public: Sequence[socket.socket],
        internal: Sequence[socket.socket],
        workers: int,
    ) -> None:
        self.settings = settings
        self.internal = frozenset(listener.getsockname() for listener in internal)
        self._listeners = (*public, *internal)
        self._workers = workers
        super().__init__()

    @override
    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": [f"fd://{listener.detach()}" for listener in self._listeners],
            "workers": self._workers,
            "worker_class": Worker,
            "logger_class": _Log,
            "backlog": BACKLOG,
            "timeout": STUCK_SECONDS,
            "graceful_timeout": DRAIN_SECONDS + 5,
            # A second way in, in a directory that others may use.
            "control_socket_disable": True,
            "child_exit": _bury,
        }
        if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes an unnamed file in it
            # The workers touch their file every second; a disk that hangs would look like them.
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            self.cfg.set(name, value)

    @override
    def load(self) -> Settings:
        return self.settings


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's own words, as lines of JSON like all others."""

    @override
    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
        self._access_log_enabled = False


def _bury(_arbiter: Arbiter, worker: Worker) -> None:
    """Take a dead worker's levels out of the sums; its counters stay in them."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


class Worker(UvicornWorker):  # type: ignore[misc]
    """One process: both applications on one service, until the master says stop or is gone."""

    app: _Application

    @override
    async def _serve(self) -> None:
        logs.configure()
        uvicorn_log = logging.getLogger("uvicorn.error")  # the base class gave it other handlers
        uvicorn_log.handlers, uvicorn_log.propagate = [], True
        self._install_sigquit_handler()
        try:
            async with open_service(self.app.settings) as service:
                public = create_server(create_app(service))
                internal = create_server(create_internal_app(service))
                stop_on_signals([public, internal], service.revocation_log.close)
                async with asyncio.TaskGroup() as group:
                    beating = group.create_task(self._beat([public, internal]))
                    # Until both have ended: the probes see the last requests off.
                    await asyncio.gather(
                        public.serve(self._sockets(internal=False)),
                        internal.serve(self._sockets(internal=True)),
                    )
                    beating.cancel()
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _sockets(self, *, internal: bool) -> list[socket.socket]:
        listeners = [listener.sock for listener in self.sockets]
        return [
            listener
            for listener in listeners
            if (listener.getsockname() in self.app.internal) is internal
        ]

    async def _beat(self, servers: Sequence[Any]) -> None:
        """Tell the master that the loop turns, and stop if there is no master any more.

        Without it the workers of a killed master would keep the ports for ever.
        """
        while True:
            self.notify()
            if os.getppid() != self.ppid:
                stop(servers)
            await asyncio.sleep(_HEARTBEAT_SECONDS)
