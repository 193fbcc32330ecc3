"""``up``, ``down`` and ``status``: from whatever is there to what was asked for.

``up`` compares what runs with what shall run, part by part, and does only what is left to do; so it
starts the stack, repairs it, changes the number of gateways and takes new settings, all by the same
steps. New gateways work before nginx learns of them; those that go are first forgotten by nginx and
then asked to leave, and tell their clients so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.stack import components, guide, nginx, postgresql, programs, prometheus, sockets
from infra.stack.components import (
    GATEWAY,
    NGINX,
    POSTGRESQL,
    POSTGRESQL_EXPORTER,
    Component,
)
from infra.stack.exceptions import StackError
from infra.stack.processes import Processes
from infra.stack.settings import Settings, read, stack_directory

START_SECONDS = 40.0
_RELOAD_SECONDS = 15.0
_POLL_SECONDS = 0.05
# Retired workers of nginx keep their sockets as long as somebody may work on one machine.
_LINGER_SECONDS = 12 * 3600
# What stops in the end, in this order; the gateways say goodbye while nginx still carries it.
_LAST = (
    *(NGINX, "nginx-exporter", "redis-exporter", POSTGRESQL_EXPORTER, "probe", "prometheus"),
    *("auth-service", POSTGRESQL, "redis"),
)
_APPLIED = "applied.sha256"
_TELLING = re.compile(r"emerg|error|fatal|cannot|can't|fail|AUTH_\w+:|GATEWAY_\w+:", re.IGNORECASE)


def up(environment: Mapping[str, str]) -> None:
    """Bring the stack to what the environment says.

    Raises:
        StackError: A program is missing, or a part does not start; what this call had started is
            stopped again.
        ConfigurationError: A setting of a service is wrong.
    """
    settings = read(environment)
    programs.require()
    settings.local.make()
    settings.stack.make()
    with _alone(settings.stack):
        password = ""
        if settings.own_database:
            password = postgresql.keep_password(settings.postgresql, settings.ports.postgresql)
            settings = read(environment)
        stack = _Stack(settings, environment)
        try:
            passwords = stack.up(password)
        except BaseException:
            stack.undo()
            raise
        finally:
            stack.processes.let_go()
    guide.show(sys.stdout, settings=settings, passwords=passwords)


def down(environment: Mapping[str, str]) -> None:
    """Stop whatever of the stack runs; sockets get their goodbye first.

    Raises:
        ConfigurationError: The directory has an unusual name.
    """
    directory = stack_directory(environment)
    if not directory.path("").is_dir():
        print("Nothing is up.")
        return
    with _alone(directory):
        processes = Processes(directory)
        names = processes.names()
        gateways = [name for name in names if components.gateway_number(name) is not None]
        others = [name for name in _LAST if name in names]
        # Whatever drain they were started with: the longest that can be set.
        killed = processes.stop(gateways, signal.SIGTERM, _drain_seconds(environment))
        for name in others:
            killed += _stop(processes, name)
        if killed:
            print(f"killed, because they did not end: {', '.join(killed)}")
        print("Everything is down." if names else "Nothing is up.")


def status(environment: Mapping[str, str]) -> bool:
    """Print what runs.

    Returns:
        Whether there is something, and all of it runs.
    """
    directory = stack_directory(environment)
    processes = Processes(directory)
    names = processes.names()
    fine = bool(names)
    for name in names:
        record = processes.running(name)
        fine = fine and record is not None
        ports = sorted({port for _, port in sockets.listening(processes.members(name))})
        listening = f"listens on {', '.join(map(str, ports))}" if ports else ""
        state = f"{record.pid:>8}  {listening}" if record else "    dead"
        print(f"{name:<16}{state}".rstrip())
    if not names:
        print("Nothing is up.")
    return fine


class _Stack:
    """One run of ``up``."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.processes = Processes(settings.stack)
        self._settings = settings
        self._environment = environment
        self._started: list[str] = []

    def up(self, database_password: str) -> dict[str, str]:
        """Do what is left to do; returns the passwords of the demo users.

        Args:
            database_password: Of the stack's PostgreSQL, if it has one.
        """
        settings = self._settings
        _raise_open_files()
        certificate.ensure(settings.local)
        self._ensure([components.redis(settings)])
        if settings.own_database:
            self._ensure_database(database_password)
        passwords = asyncio.run(_demo_users(settings))
        settings.stack.path("auth-metrics").mkdir(mode=0o700, exist_ok=True)
        targets = settings.stack.path("prometheus/targets")
        # Prometheus watches only what is there when it starts.
        targets.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = {
            part.name: part
            for part in (
                components.gateway(settings, number) for number in range(1, settings.gateways + 1)
            )
        }
        surplus = [name for name in self._gateways() if name not in wanted]
        changed = [part for part in wanted.values() if self._is_outdated(part)]
        self._ensure(
            [
                components.auth(settings),
                *(part for part in wanted.values() if part not in changed),
                *components.monitoring(settings),
            ]
        )
        # One after the other, so that the others take over.
        for part in changed:
            self._route([name for name in wanted if name != part.name and self._runs(name)])
            self._ensure([part])
        self._route(list(wanted))
        prometheus.write_targets(
            prometheus.targets(
                settings.ports, settings.gateways, own_database=settings.own_database
            ),
            targets,
        )
        self._ensure([components.nginx_exporter(settings)])
        self._stop(surplus)
        if settings.own_database:
            self._ensure([components.postgresql_exporter(settings)])
        else:
            self._stop([POSTGRESQL_EXPORTER])
            self._stop([POSTGRESQL])
        return passwords

    def _ensure_database(self, password: str) -> None:
        """See to it that PostgreSQL runs, with the tables of this version."""
        settings = self._settings
        postgresql.initialise(settings.postgresql.path("data").absolute(), password)
        self._ensure([components.postgresql(settings)])
        asyncio.run(postgresql.ensure_database(settings.ports.postgresql, password))
        asyncio.run(_migrate(settings))

    def undo(self) -> None:
        """Stop what this run has started."""
        started, self._started = self._started, []
        gateways = [name for name in started if name.startswith(GATEWAY)]
        if NGINX not in started and self._runs(NGINX):
            # It may know the new gateways already.
            with contextlib.suppress(StackError):
                self._route([name for name in self._gateways() if name not in gateways])
        self.processes.stop(gateways, signal.SIGTERM, 5)
        for name in reversed([name for name in started if name not in gateways]):
            _stop(self.processes, name)

    # --- processes ---

    def _gateways(self) -> list[str]:
        return [
            name
            for name in self.processes.names()
            if components.gateway_number(name) is not None and self.processes.members(name)
        ]

    def _runs(self, name: str) -> bool:
        return self.processes.running(name) is not None

    def _is_outdated(self, part: Component) -> bool:
        record = self.processes.running(part.name)
        return record is not None and record.digest != part.digest

    def _ensure(self, parts: Sequence[Component]) -> None:
        """See to it that these run, as they are meant to, and work."""
        for part in parts:
            if self._runs(part.name) and not self._is_outdated(part):
                continue
            self._stop([part.name])
            _write(part)
            self.processes.start(
                part.name,
                part.command,
                environment=part.environment(self._environment),
                directory=part.directory,
                digest=part.digest,
            )
            self._started.append(part.name)
        self._await(parts)

    def _await(self, parts: Sequence[Component]) -> None:
        waiting = list(parts)
        deadline = time.monotonic() + START_SECONDS
        while waiting:
            for part in list(waiting):
                if not self._runs(part.name):
                    raise StackError(self._complaint(part, "did not start"))
                if self._listens(part) and part.works():
                    waiting.remove(part)
            if waiting and time.monotonic() > deadline:
                late = waiting[0]
                raise StackError(
                    self._complaint(late, f"did not get ready within {START_SECONDS:g} s")
                )
            if waiting:
                time.sleep(_POLL_SECONDS)

    def _listens(self, part: Component) -> bool:
        # An answer alone could come from a stranger on that port.
        mine = sockets.listening(self.processes.members(part.name))
        return all(("127.0.0.1", port) in mine for port in part.ports)

    def _stop(self, names: Iterable[str]) -> None:
        """Stop parts of one kind together."""
        chosen = list(names)
        if not chosen:
            return
        drain = self._settings.gateway.drain_seconds
        self.processes.stop(
            chosen, components.stop_signal(chosen[0]), components.stop_seconds(chosen[0], drain)
        )

    def _complaint(self, part: Component, what: str) -> str:
        """Say what went wrong, with the line of the log that says why."""
        log = self.processes.log(part.name)
        files = [log, log.with_name("nginx-error.log")] if part.name == NGINX else [log]
        lines = [line for file in files for line in _lines(file)]
        telling = [line for line in lines if _TELLING.search(line)] or lines
        why = f": {telling[-1]}" if telling else ""
        return f"{part.name} {what}{why} ({_short(files[-1])})"

    # --- nginx ---

    def _route(self, gateways: Sequence[str]) -> None:
        """Have nginx send clients to these gateways, and to no others."""
        if not gateways:
            return
        settings = self._settings
        front = components.front(settings)
        files = nginx.render(self._place(gateways))
        nginx_files = LocalDirectory(str(settings.stack.path("nginx")))
        nginx_files.make()
        applied = nginx_files.read(_APPLIED)
        digest = nginx.digest(files).encode()
        if self._runs(NGINX) and not self._is_outdated(front) and applied == digest:
            return
        # Not before it is sure that they are in force.
        nginx_files.path(_APPLIED).unlink(missing_ok=True)
        nginx.write(files, front.directory)
        self._check(front)
        if self._runs(NGINX) and not self._is_outdated(front):
            self._reload()
        self._ensure([front])
        nginx_files.write(_APPLIED, digest, mode=0o600)

    def _check(self, front: Component) -> None:
        tested = subprocess.run(  # noqa: S603 - the command is ours
            [*front.command, "-t", "-q"], check=False, capture_output=True, text=True
        )
        if tested.returncode != 0:
            line = (tested.stderr.strip().splitlines() or ["no reason given"])[0]
            raise StackError(f"nginx refuses its configuration: {line}")

    def _reload(self) -> None:
        """Put the configuration in force; afterwards no worker takes clients by the old one."""
        old = [pid for pid in self.processes.children(NGINX) if not _retires(pid)]
        self.processes.send(NGINX, signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while not all(_retires(pid) for pid in old):
            if time.monotonic() > deadline:
                raise StackError(
                    self._complaint(components.front(self._settings), "did not reload")
                )
            time.sleep(_POLL_SECONDS)

    def _place(self, gateways: Sequence[str]) -> nginx.Place:
        settings = self._settings
        numbers = [components.gateway_number(name) for name in gateways]
        directory = settings.stack.path("nginx")
        ports = settings.ports
        return nginx.Place(
            tls=[f"{host}:{ports.tls}" for host in settings.hosts],
            plain=[f"{host}:{ports.plain}" for host in settings.hosts],
            status=[f"127.0.0.1:{ports.nginx_status}"],
            auth=[f"127.0.0.1:{ports.auth}"],
            gateways=[f"127.0.0.1:{ports.gateway(number)}" for number in numbers if number],
            certificate=os.path.relpath(settings.local.path(certificate.SERVER), directory),
            key=os.path.relpath(settings.local.path(certificate.KEY), directory),
            limits=nginx.Limits() if settings.limited else None,
            workers=settings.nginx_workers,
            open_files=components.open_files(),
            user=_worker_user(),
            linger_seconds=_LINGER_SECONDS,
            silence_seconds=nginx.silence(settings.gateway.ping_interval),
            api_bytes=(
                settings.gateway.api_max_body_bytes if settings.gateway.api_public else None
            ),
            logs="../logs",
            run=".",
        )


async def _migrate(settings: Settings) -> None:
    """Bring the tables up to date, as ``python -m auth_service migrate`` does."""
    from auth_service.app import explain, open_database  # noqa: PLC0415
    from auth_service.exceptions import SchemaError, StoreUnavailable  # noqa: PLC0415
    from auth_service.store import migration  # noqa: PLC0415

    database = open_database(settings.auth)
    try:
        await database.open()
        await migration.upgrade(database)
    except (StoreUnavailable, SchemaError) as error:
        raise explain(error) from None
    finally:
        await database.close()


async def _demo_users(settings: Settings) -> dict[str, str]:
    # A second's worth of imports that only this step needs.
    from auth_service.app import open_service  # noqa: PLC0415
    from infra.embedded.demo_users import ensure_demo_users  # noqa: PLC0415

    async with open_service(settings.auth) as service:
        return await ensure_demo_users(service, settings.local)


@contextlib.contextmanager
def _alone(directory: LocalDirectory) -> Iterator[None]:
    """Keep a second ``up`` or ``down`` away.

    Raises:
        StackError: There is one.
    """
    descriptor = os.open(directory.path("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("another make up or make down is at work") from None
        yield
    finally:
        os.close(descriptor)


def _stop(processes: Processes, name: str) -> list[str]:
    seconds = components.stop_seconds(name, 0)
    if name == NGINX:
        # It waits for what still flows; whatever is left then is cut.
        processes.send(name, signal.SIGQUIT)
        _until(lambda: not processes.members(name), seconds)
        return processes.stop([name], signal.SIGTERM, seconds)
    return processes.stop([name], components.stop_signal(name), seconds)


def _write(part: Component) -> None:
    part.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in part.files.items():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text, "utf-8")


def _raise_open_files() -> None:
    """Let every process have as many sockets as the machine allows without asking."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _worker_user() -> str:
    """Return who nginx' workers shall be: as root nobody who owns anything."""
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam("www-data").pw_name
    except KeyError:
        return "nobody nogroup"


def _retires(pid: int) -> bool:
    """Say whether a worker of nginx is gone, or takes no new clients."""
    try:
        return b"shutting down" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def _drain_seconds(environment: Mapping[str, str]) -> float:
    try:
        drain = float(environment.get("GATEWAY_DRAIN_SECONDS") or 20)
    except ValueError:
        drain = 20
    return components.stop_seconds(f"{GATEWAY}1", drain)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
