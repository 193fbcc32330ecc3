"""The lines that tell whoever started the server what to do next."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from infra.embedded import certificate, demo_users
from infra.embedded.local_directory import LocalDirectory
from infra.embedded.settings import Origin

_TEXT = """\
Drawbridge is open at {origin}

{users}

In a browser, that address is a chat page. The browser warns of the certificate: the throw-away \
CA that signed it is {ca}

In another terminal, in this directory:

# 1. A token for alice
TOKEN=$(curl -s --cacert {ca} {origin}/token \
-d grant_type=password -d username=alice \
--data-urlencode "password=$(sed -n 's/^alice://p' {file})" \
| {python} -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

# 2. Across the bridge with the official Python SDK
{install}{python} - <<END
import asyncio, ssl; from centrifuge import Client
async def hello(client): await client.connect(); print(await client.rpc("echo", "hello")); \
await client.disconnect()
asyncio.run(hello(Client("wss://{authority}/connection/websocket", token="$TOKEN", \
ssl_context=ssl.create_default_context(cafile="{cafile}"))))
END

{ending}"""
_ENDING = "Ctrl-C ends it.\n"


def show(
    stream: TextIO,
    *,
    origin: Origin,
    local: LocalDirectory,
    passwords: Mapping[str, str],
    ending: str = _ENDING,
) -> None:
    """Write the lines; the passwords themselves only where a person reads them.

    Args:
        stream: Standard output.
        origin: Where the front is.
        local: What the lines refer to.
        passwords: Of the demo users.
        ending: The last lines.
    """
    python = shlex.quote(_shown(Path(sys.executable)))
    install = f"{python} -m pip install -q --disable-pip-version-check centrifuge-python\n"
    has_sdk = importlib.util.find_spec("centrifuge") is not None
    text = _TEXT.format(
        origin=origin,
        authority=origin.authority,
        users=_users(local, passwords, shown=stream.isatty()),
        ca=shlex.quote(str(local.path(certificate.CA))),
        cafile=local.path(certificate.CA),
        file=shlex.quote(str(local.path(demo_users.FILE))),
        python=python,
        install="" if has_sdk else install,
        ending=ending,
    )
    stream.write(text)
    stream.flush()


def _users(local: LocalDirectory, passwords: Mapping[str, str], *, shown: bool) -> str:
    file = local.path(demo_users.FILE)
    if not shown:  # into a file or a log, where no password belongs
        return f"Users {' and '.join(passwords)}, their passwords are in {file}"
    lines = (f"  {name:<8}{password}" for name, password in passwords.items())
    return "\n".join([f"Users and passwords (kept in {file}):", *lines])


def _shown(path: Path) -> str:
    """Write a path as short as it can be from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
