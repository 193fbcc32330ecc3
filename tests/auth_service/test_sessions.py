"""Sessions."""

from __future__ import annotations

import asyncio

import pytest
from jose import jwt
from sqlalchemy import select

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant
from auth_service.issued import Issued
from auth_service.models import Client, User
from auth_service.sessions import REVOCATION_SECONDS
from auth_service.store import revocations, users
from auth_service.store.revocations import Revocation
from auth_service.store.tables import AUDIT_EVENTS, SESSIONS
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

CHAT = Client("chat", None, frozenset({"refresh_token"}), frozenset({"connect"}), False, 1)
CALLER = Caller("192.0.2.1", "Mozilla", "r1")


async def _start(service: Service, user: User, **changes: object) -> Issued:
    options = {"scopes": {"connect"}, "kind": "password", "caller": CALLER, **changes}
    return await service.sessions.start(user, CHAT, **options)  # type: ignore[arg-type]


def _sid(issued: Issued) -> str:
    return str(jwt.get_unverified_claims(issued.access_token)["sid"])


async def test_every_session_has_an_id_of_its_own(service: Service, alice: User) -> None:
    """Which is the sid of its tokens, and a row."""
    tokens = [await _start(service, alice) for _ in range(3)]

    claims = [jwt.get_unverified_claims(issued.access_token) for issued in tokens]
    assert len({found["sid"] for found in claims}) == 3
    assert {found["sub"] for found in claims} == {alice.id}
    async with service.database.read() as connection:
        rows = (await connection.execute(select(SESSIONS))).all()
    assert {row.id for row in rows} == {found["sid"] for found in claims}
    assert {(row.user_id, row.client_id, row.kind, row.address) for row in rows} == {
        (alice.id, "chat", "password", "192.0.2.1")
    }


async def test_no_session_begins_after_the_user_was_disabled(service: Service, alice: User) -> None:
    """Also if that happened after the password was checked."""
    async with service.database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)

    with pytest.raises(InvalidGrant):
        await _start(service, alice)


async def test_no_answer_is_repeated_while_all_sessions_end(
    service: Service, alice: User, clock: Clock
) -> None:
    """Its token would be dated after the watermark, and good at the gateways until it expires."""

    async def refresh() -> Issued:
        return await service.sessions.refresh(
            str(first.refresh_token), CHAT, requested=None, browser=False, caller=CALLER
        )

    first = await _start(service, alice)
    await refresh()
    async with service.database.write() as connection:
        user = await users.locked(connection, alice.id)
        assert user is not None
        await service.sessions.end_all(
            connection, user, reason="logout_all", actor=alice.id, caller=CALLER
        )
        clock.now += 1
        repeated = asyncio.create_task(refresh())
        done, _ = await asyncio.wait({repeated}, timeout=0.5)
        assert not done

    with pytest.raises(InvalidGrant):
        await repeated


async def test_a_password_typed_before_the_watermark_opens_nothing(
    service: Service, alice: User, now: float
) -> None:
    """A code, say, that was approved before all sessions were ended."""
    with pytest.raises(InvalidGrant):
        await _start(service, alice, auth_time=0)

    claims = jwt.get_unverified_claims(
        (await _start(service, alice, auth_time=int(now) - 5)).access_token
    )
    assert claims["auth_time"] == int(now) - 5


async def test_ending_a_session_tells_the_gateways_once(
    service: Service, alice: User, now: float
) -> None:
    """An entry in the log and one in the audit, in one transaction."""
    sid = _sid(await _start(service, alice))

    for expected in (True, False):
        async with service.database.write() as connection:
            assert expected is await service.sessions.end(
                connection, sid, reason="logout", actor=alice.id, caller=CALLER
            )

    async with service.database.read() as connection:
        entries = await revocations.after(connection, 0, now=0, limit=10)
        events = (
            await connection.execute(
                select(AUDIT_EVENTS).where(AUDIT_EVENTS.c.event == "session_ended")
            )
        ).all()
    until = int(now) + REVOCATION_SECONDS
    entry = Revocation(kind="sid", value=sid, sub=alice.id, until=until, reason="logout")
    assert entries == [(1, entry)]
    assert [(event.subject, event.actor, event.reason) for event in events] == [
        (sid, alice.id, "logout")
    ]


async def test_an_end_that_is_rolled_back_is_none(service: Service, alice: User) -> None:
    """Nobody hears of it."""
    sid = _sid(await _start(service, alice))

    async def fail() -> None:
        async with service.database.write() as connection:
            await service.sessions.end(
                connection, sid, reason="logout", actor=alice.id, caller=CALLER
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    async with service.database.read() as connection:
        assert (await connection.execute(select(SESSIONS.c.ended_at))).scalar_one() is None
        assert await revocations.after(connection, 0, now=0, limit=10) == []
