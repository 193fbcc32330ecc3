"""A PostgreSQL cluster of our own: how it is made, configured and run.

Debian's clusters are neither used nor touched. PostgreSQL refuses to run as root, so it is the
distribution's user ``postgres`` then, and the caller otherwise. That user may not enter the
directories above the data, which are root's alone; so the data are opened by the caller and named
by the descriptor. Passwords go over TCP only; a Unix socket, if any, lies in the data directory,
which nobody else can enter.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from infra.embedded.local_directory import PRIVATE, LocalDirectory
from infra.stack import programs
from infra.stack.exceptions import StackError

#: The role that owns the cluster, and its first database.
ROLE = "drawbridge"
DATABASE = "drawbridge"
#: The secret of the role, in the directory that holds the data too: an address with a password.
URL_FILE = "url"
#: The password alone, for what wants nothing else.
PASSWORD_FILE = "password"  # noqa: S105 - a name
_ACCOUNT = "postgres"
_BURIAL_SECONDS = 10.0
_POLL_SECONDS = 0.05
_URL = re.compile(rb"postgresql\+asyncpg://[a-z]+:([A-Za-z0-9_-]+)@")


def account() -> str | None:
    """Return the user that the server has to run as; None: the caller.

    Raises:
        StackError: The caller is root, and the distribution's user is not there.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_ACCOUNT).pw_name
    except KeyError:
        raise StackError("PostgreSQL does not run as root, and there is no user postgres") from None


def url(port: int, password: str = "") -> str:
    """Return the database's address as the auth service takes it.

    Args:
        port: Where the server listens.
        password: Of `ROLE`; without it the address opens nothing.
    """
    role = f"{ROLE}:{password}" if password else ROLE
    return f"postgresql+asyncpg://{role}@127.0.0.1:{port}/{DATABASE}"


def keep_password(directory: LocalDirectory, port: int) -> str:
    """Return the role's password, made the first time; the file with the address has it.

    Args:
        directory: Of the file; made if need be.
        port: Where the server listens now.

    Raises:
        StackError: There are data already, and no password that would open them.
    """
    directory.make()
    content = directory.read(URL_FILE)
    found = _URL.match(content) if content is not None else None
    if found is None and directory.path("data/PG_VERSION").exists():
        raise StackError(
            f"PostgreSQL: {directory.path(URL_FILE)} has no password, and there are data beside it;"
            " put it back, or remove the directory"
        )
    password = found[1].decode() if found else secrets.token_urlsafe(24)
    wanted = f"{url(port, password)}\n".encode()
    if content != wanted:
        directory.write(URL_FILE, wanted, mode=PRIVATE)
    if directory.read(PASSWORD_FILE) != password.encode():
        directory.write(PASSWORD_FILE, password.encode(), mode=PRIVATE)
    return password


def initialise(directory: Path, password: str) -> None:
    """Make the cluster, unless it is there; it appears whole or not at all.

    Args:
        directory: Of its data; made, and given to the server's user.
        password: Of `ROLE`.

    Raises:
        StackError: It cannot be made; one line.
    """
    if (directory / "PG_VERSION").exists():
        return
    draft = directory.with_name(f"{directory.name}.new")
    # What an interrupted start has left.
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    try:
        _initdb(draft, password)
        draft.replace(directory)
    except OSError as error:
        raise StackError(f"PostgreSQL's data in {directory}: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _initdb(directory: Path, password: str) -> None:
    user = account()
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as secret:
            secret.write(f"{password}\n")
            secret.flush()
            if user is not None:
                for owned in (directory, secret.name):
                    shutil.chown(owned, user, pwd.getpwnam(user).pw_gid)
            made = subprocess.run(  # noqa: S603 - our own words only
                [
                    *(programs.find("initdb"), f"--pgdata={by_descriptor(opened)}"),
                    *(f"--username={ROLE}", f"--pwfile={secret.name}"),
                    *("--auth-local=trust", "--auth-host=scram-sha-256"),
                    *("--encoding=UTF8", "--locale=C.UTF-8"),
                ],
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                pass_fds=(opened,),
                cwd="/",
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        os.close(opened)
    if made.returncode != 0:
        lines = (made.stderr.strip() or "no reason given").splitlines()
        telling = [line for line in lines if "error:" in line] or lines
        raise StackError(f"PostgreSQL's initdb: {telling[0]}")


async def ensure_database(port: int, password: str) -> None:
    """Make the database in a running server, unless it is there.

    Raises:
        StackError: The server takes no orders; one line.
    """
    try:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user=ROLE, password=password, database="postgres"
        )
        try:
            if not await connection.fetchval(
                "SELECT true FROM pg_database WHERE datname = $1", DATABASE
            ):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise StackError(f"PostgreSQL: {line}") from None


def await_burial(directory: Path) -> None:
    """Wait until the server that was killed here is no process any more, not even a dead one.

    A killed server leaves its number behind. PostgreSQL asks whether that process exists, and the
    dead one does until the machine's first process takes note of its end, which may take seconds.

    Args:
        directory: Of its data.
    """
    try:
        number = (directory / "postmaster.pid").read_text("utf-8").partition("\n")[0]
    except OSError:
        return
    deadline = time.monotonic() + _BURIAL_SECONDS
    while number.isdigit() and _is_dead(number) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _is_dead(number: str) -> bool:
    try:
        text = Path(f"/proc/{number}/stat").read_text("utf-8")
    except OSError:
        return False  # long gone
    # The name, in brackets, may hold anything; the state comes behind it.
    return text.rpartition(")")[2].split()[0] == "Z"


def by_descriptor(opened: int) -> Path:
    """Return how a process names a directory that it was given open."""
    return Path(f"/proc/self/fd/{opened}")


def command(directory: Path, port: int, options: Mapping[str, str] | None = None) -> list[str]:
    """Return how the server is run, on IPv4's loopback.

    Args:
        directory: Of its data.
        port: Where it listens.
        options: Settings of PostgreSQL besides; its defaults stand otherwise.
    """
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(directory),
        **(options or {}),
    }
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return [programs.find("postgres"), "-D", str(directory), "-p", str(port), *words]


def environment() -> dict[str, str]:
    """Return the process' variables without those of PostgreSQL, which name another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
