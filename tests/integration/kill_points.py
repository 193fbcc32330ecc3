"""Refreshes sessions, or exchanges codes, in processes that kill themselves at a chosen point.

    python -m tests.integration.kill_points refresh|exchange POINT RUNS

The service's settings are in the environment. Each run is a process, forked from this one, which
has imported everything and opened nothing. The service itself knows nothing of these points. What
is left is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NoReturn

from sqlalchemy import select

from auth_service.app import Service, open_service
from auth_service.authorization import AuthorizationRequest
from auth_service.caller import Caller
from auth_service.grants.authorization_code import AuthorizationCodeGrant
from auth_service.models import Client
from auth_service.passwords import HashParameters
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.store import authorization_codes, sessions
from auth_service.store.tables import REVOCATIONS, SESSIONS

CHEAP = HashParameters(memory_kib=8, passes=1, lanes=1)
CHAT = Client("chat", None, frozenset({"refresh_token"}), frozenset({"connect"}), False, 1)
APP = "app"
REDIRECT_URI = "https://app.example/cb"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
Again = Callable[[Service, str], Awaitable[bool]]
Step = Callable[[Service], Awaitable[Any]]
#: What consumes, what goes on until the commit, what commits.
PLACES: dict[str, tuple[tuple[object, str], tuple[object, str], tuple[object, str]]] = {
    "refresh": ((sessions, "rotate"), (Sessions, "_rotate"), (Sessions, "refresh")),
    # One statement does it all.
    "refresh-at-once": (
        (sessions, "rotate_at_once"),
        (sessions, "rotate_at_once"),
        (Sessions, "refresh"),
    ),
    "exchange": (
        (authorization_codes, "use"),
        (AuthorizationCodeGrant, "_start"),
        (AuthorizationCodeGrant, "exchange"),
    ),
}


def die() -> NoReturn:
    """End as ``kill -9`` ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def arm(what: str, point: str) -> None:
    """Plant the end of this process where the test wants it."""
    consume, mint, commit = PLACES[what]
    holder, name = {
        "before-consume": consume,
        "after-consume": consume,
        "before-commit": mint,
        "after-commit": commit,
    }[point]
    function = getattr(holder, name)

    async def planted(*arguments: Any, **options: Any) -> NoReturn:  # noqa: ANN401
        if point != "before-consume":
            await function(*arguments, **options)
        die()

    setattr(holder, name, planted)


async def refresh(service: Service, token: str) -> str:
    """Refresh a session; returns the successor."""
    issued = await service.sessions.refresh(
        token, CHAT, requested=None, browser=False, caller=Caller()
    )
    return str(issued.refresh_token)


async def refresh_narrowed(service: Service, token: str) -> str:
    """Refresh a session for a scope, which takes a transaction; returns the successor."""
    issued = await service.sessions.refresh(
        token, CHAT, requested=CHAT.scopes, browser=False, caller=Caller()
    )
    return str(issued.refresh_token)


async def exchange(service: Service, code: str) -> str:
    """Exchange a code; returns the refresh token."""
    client = await service.registration.find(APP)
    assert client is not None
    form = {"code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    grant = service.grants[AuthorizationCodeGrant.name]
    issued = await grant.exchange(client=client, form=form, caller=Caller())
    return str(issued.refresh_token)


async def sessions_begun(service: Service, runs: int) -> list[str]:
    """Open sessions; returns their tokens."""
    user = await service.accounts.add("alice", "correct horse battery staple")
    tokens = []
    for _ in range(runs):
        issued = await service.sessions.start(
            user, CHAT, scopes={"connect"}, kind="password", caller=Caller()
        )
        tokens.append(str(issued.refresh_token))
    return tokens


async def codes_made(service: Service, runs: int) -> list[str]:
    """Agree on a user's behalf; returns the codes."""
    user = await service.accounts.add("alice", "correct horse battery staple")
    client = await service.registration.add(
        APP,
        grants=["authorization_code", "refresh_token"],
        scope="connect",
        redirect_uris=[REDIRECT_URI],
    )
    request = AuthorizationRequest(client, REDIRECT_URI, None, CHALLENGE, None)
    locations = [await service.authorization.approve(request, user, Caller()) for _ in range(runs)]
    return [location.partition("code=")[2].partition("&")[0] for location in locations]


async def refreshed_on(service: Service, token: str) -> bool:
    """Go on as a client does that got no answer: with the old token, then with the new one."""
    first, again = await refresh(service, token), await refresh(service, token)
    await refresh(service, first)
    return first == again


async def exchanged_on(service: Service, code: str) -> bool:
    """Go on as a client does that got no answer: once more, with the same code."""
    await exchange(service, code)
    return True


async def look(service: Service, again: Again, texts: list[str]) -> dict[str, object]:
    """Let every client go on; says how many cannot, and what the database holds then."""
    lost = 0
    for text in texts:
        try:
            lost += not await again(service, text)
        except Exception:  # noqa: BLE001 (each is a session lost, whatever the reason)
            lost += 1
    async with service.database.read() as connection:
        rows = (await connection.execute(select(SESSIONS.c.generation, SESSIONS.c.ended_at))).all()
        revoked = (await connection.execute(select(REVOCATIONS.c.seq))).all()
    return {
        "lost": lost,
        "sessions": len(rows),
        "generations": sorted({row.generation for row in rows}),
        "ended": sum(row.ended_at is not None for row in rows),
        "revoked": len(revoked),
    }


def fork(step: Step, planted: tuple[str, str] | None = None) -> tuple[int, Any]:
    """Run a step on an open service in a process of its own; returns its status and result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        if planted is not None:
            arm(*planted)

        async def run() -> None:
            settings = Settings.from_environment(os.environ)
            async with open_service(settings, hash_parameters=CHEAP) as service:
                result = await step(service)
                with os.fdopen(writing, "w") as pipe:
                    json.dump(result, pipe)

        asyncio.run(run())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(text) if text else None


def main(what: str, point: str, runs: int) -> None:
    """Kill as often as wanted, then print what is left."""
    begin, step, again = {
        "refresh": (sessions_begun, refresh_narrowed, refreshed_on),
        "refresh-at-once": (sessions_begun, refresh, refreshed_on),
        "exchange": (codes_made, exchange, exchanged_on),
    }[what]
    _, texts = fork(lambda service: begin(service, runs))
    killed = 0
    for text in texts:
        status, _ = fork(lambda service, text=text: step(service, text), (what, point))  # type: ignore[misc]
        killed += status == -signal.SIGKILL
    _, left = fork(lambda service: look(service, again, texts))
    sys.stdout.write(json.dumps({"killed": killed, **left}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
