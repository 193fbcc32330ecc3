"""The demo users and their passwords, the same from one start to the next."""

from __future__ import annotations

import secrets

from auth_service.app import Service
from auth_service.exceptions import AccountError
from infra.embedded.local_directory import PRIVATE, LocalDirectory
from ws_gateway.exceptions import ConfigurationError

FILE = "demo-users.txt"
NAMES = ("alice", "bob")
MIN_PASSWORD_CHARACTERS = 20
_PASSWORD_BYTES = 18  # 24 characters


async def ensure_demo_users(service: Service, local: LocalDirectory) -> dict[str, str]:
    """See to it that the database and the file agree; the file's passwords win.

    Without a file there are new passwords, also for users that exist; without the users they are
    made anew, with the file's passwords.

    Args:
        service: Open.
        local: Holds ``demo-users.txt``, one ``name:password`` a line.

    Returns:
        Names and passwords.

    Raises:
        ConfigurationError: The auth service takes no such user, or the file cannot be used.
    """
    content = local.read(FILE) or b""
    passwords = dict.fromkeys(NAMES, "") | _parse(content)
    for name in NAMES:
        if len(passwords[name]) < MIN_PASSWORD_CHARACTERS:
            passwords[name] = secrets.token_urlsafe(_PASSWORD_BYTES)
        try:
            await service.accounts.ensure_demo_user(name, passwords[name])
        except AccountError as error:
            raise ConfigurationError(f"the demo user {name}: {error}") from None
    # Also if nothing changed, so that its mode is right whatever an editor made of it.
    text = "".join(f"{name}:{password}\n" for name, password in passwords.items())
    local.write(FILE, text.encode(), mode=PRIVATE)
    return {name: passwords[name] for name in NAMES}


def _parse(content: bytes) -> dict[str, str]:
    lines = content.decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name: password for name, _, password in pairs}
