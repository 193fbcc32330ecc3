"""``python -m infra.stack.postgresql_server DIRECTORY PORT``: becomes the PostgreSQL of the stack.

As root it opens the data first and is the server's own user from then on, for whom the way to them
is closed. There is no Unix socket: where the data are, nobody could reach it.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from infra.stack import postgresql
from infra.stack.exceptions import StackError

EXIT_REFUSED = 1


def main(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the server.

    Args:
        arguments: The directory of the data, and the port.
    """
    directory, port = arguments
    try:
        user = postgresql.account()
        postgresql.await_burial(Path(directory))
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(opened, True)
        words = postgresql.command(
            postgresql.by_descriptor(opened), int(port), {"unix_socket_directories": ""}
        )
        os.chdir("/")
        if user is not None:
            found = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(found.pw_gid)
            os.setuid(found.pw_uid)
        os.execve(words[0], words, postgresql.environment())  # noqa: S606 - our own words only
    except (StackError, OSError) as error:
        sys.stderr.write(f"cannot start PostgreSQL: {error}\n")
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
