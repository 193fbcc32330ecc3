"""A publish hook: what is said passes through your own code, which may refuse or change it.

Start the server with the hooks of docs/examples/moderated.py, from the top of the repository:

    GATEWAY_HOOKS=docs.examples.moderated:hooks make run

Then talk with `.venv/bin/python docs/examples/rooms.py`, as README.md in this folder says: shouting
is refused with a code of our own, and a word that we do not like is covered up. What is no text
passes.
"""

from __future__ import annotations

import re

from ws_gateway.exceptions import ReplyError
from ws_gateway.hooks import Caller, Hooks, PublishAnswer

hooks = Hooks()

NO_SHOUTING = 1001
UNWANTED = re.compile("darn", re.IGNORECASE)


@hooks.publish
async def moderate(caller: Caller, _channel: str, data: object) -> PublishAnswer | None:
    """Refuse, change, or let it pass as it is."""
    if not isinstance(data, str):
        return None
    if data.isupper():
        raise ReplyError(NO_SHOUTING, f"no shouting, {(caller.info or {}).get('name', 'guest')}")
    covered = UNWANTED.sub(lambda match: "*" * len(match[0]), data)
    return PublishAnswer(covered) if covered != data else None
