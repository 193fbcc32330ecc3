"""Writes what the code says of itself: ``settings.md``, and the options of ``channels.md``."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from auth_service.settings import SECRETS, Settings as AuthSettings
from ws_gateway.channel_options import ChannelOptions
from ws_gateway.docstrings import attributes
from ws_gateway.settings import Settings as GatewaySettings

TARGET = Path(__file__).with_name("settings.md")
CHANNELS = Path(__file__).with_name("channels.md")
OPTIONS_BEGIN = "<!-- options: written by make docs -->\n"
OPTIONS_END = "<!-- end of options -->\n"

HEAD = """\
# Settings

All settings are environment variables, read once at the start. A wrong, unsafe or unknown one stops
the start with one line that names it; an empty one counts as none. (Written by `make docs`.)
"""

AUTH_FILES = f"""\
For mounted secrets, these name files with the value:
{", ".join(f"`AUTH_{name.upper()}_FILE`" for name in sorted(SECRETS))}.
"""

GATEWAY_FILES = """\
`GATEWAY_REDIS_URL_FILE`, `GATEWAY_REVOCATIONS_KEY_FILE`, `GATEWAY_HMAC_SECRET_FILE` and
`GATEWAY_API_KEY_FILE` name files with the value, for mounted secrets.
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


def shown(name: str, field: FieldInfo) -> str:
    """Write a default as one would type it into the environment."""
    value = field.default
    if name == "issuers":
        return "the embedded token service"
    if name == "origins" and not value:
        return "the issuer's own"
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
    told = attributes(model)
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
            AUTH_FILES,
            "## The gateway\n",
            table("GATEWAY_", GatewaySettings),
            GATEWAY_FILES,
            EMBEDDED,
        ]
    )


def options() -> str:
    """Build the table of a namespace's options."""
    told = attributes(ChannelOptions)
    rows = [f"| `{field.name}` | {told[field.name]} |" for field in fields(ChannelOptions)]
    return "\n".join(["| option | what |", "| --- | --- |", *rows]) + "\n"


def channels(text: str) -> str:
    """Put that table where the page of channels has it."""
    before, _, rest = text.partition(OPTIONS_BEGIN)
    _, _, after = rest.partition(OPTIONS_END)
    return f"{before}{OPTIONS_BEGIN}{options()}{OPTIONS_END}{after}"


def main() -> int:
    """Write the pages."""
    TARGET.write_text(page(), "utf-8")
    CHANNELS.write_text(channels(CHANNELS.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
