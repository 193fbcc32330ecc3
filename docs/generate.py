"""Writes ``docs/settings.md`` from the two ``Settings`` classes and their docstrings."""

from __future__ import annotations

import re
import sys
from inspect import getdoc
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from auth_service.settings import Settings as AuthSettings
from ws_gateway.settings import Settings as GatewaySettings

TARGET = Path(__file__).with_name("settings.md")

HEAD = """\
# Settings

All settings are environment variables, read once at the start. A wrong, unsafe or unknown one stops
the start with one line that names it; an empty one counts as none. (Written by `make docs`.)
"""

EMBEDDED = """\
## `make run`

Both services' settings count, with defaults of their own for what the demo needs: the default
client `chat`, the channels and hooks of `infra/demo/`. `GATEWAY_BIND` opens a plain listener beside
the front only if it is set.

| variable | default | what |
| --- | --- | --- |
| `DRAWBRIDGE_FRONT` | `127.0.0.1:8443,[::1]:8443` | Where the front listens; loopback only. |
| `DRAWBRIDGE_LOCAL` | `.local` | Where users, keys and the certificate are kept. |
"""


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Read what the ``Attributes`` section of a docstring says of each field."""
    _, _, section = (getdoc(model) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in found}


def shown(name: str, field: FieldInfo) -> str:
    """Write a default as one would type it into the environment."""
    value = field.default
    if name == "issuers":
        return "the embedded token service"
    if name == "hash_threads":
        return "one per core"
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        parts = (
            ":".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in value
        )
        return f"`{','.join(parts)}`"
    return f"`{int(value)}`" if isinstance(value, bool) else f"`{value}`"


def table(prefix: str, model: type[BaseModel]) -> str:
    """Build the table of one service."""
    told = descriptions(model)
    rows = [
        f"| `{prefix}{name.upper()}` | {shown(name, field)} | {told[name]} |"
        for name, field in model.model_fields.items()
        if name in told
    ]
    return "\n".join(["| variable | default | what |", "| --- | --- | --- |", *rows]) + "\n"


def page() -> str:
    """Build the whole page."""
    return "\n".join(
        [
            HEAD,
            "## The token service\n",
            table("AUTH_", AuthSettings),
            "`AUTH_DATABASE_URL_FILE` names a file with the value, for a mounted secret.\n",
            "## The gateway\n",
            table("GATEWAY_", GatewaySettings),
            "`GATEWAY_REDIS_URL_FILE` names a file with the value, for a mounted secret.\n",
            EMBEDDED,
        ]
    )


def main() -> int:
    """Write the page."""
    TARGET.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
