"""What the grants by code have in common; each of them has its own tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant
from auth_service.grants.codes import CodeGrant, hash_code
from auth_service.models import User


@dataclass(frozen=True)
class Agreed:
    """What a user agreed to."""

    user_id: str | None
    scope: str
    auth_time: int | None = None


def test_any_text_has_a_hash_of_its_own() -> None:
    """Also what is no Unicode: a client may send anything."""
    hashes = {hash_code(text) for text in ("", "a", "b", "\ud800", "\u00e9", "e\u0301")}

    assert {len(text) for text in hashes} == {64}
    assert len(hashes) == 6


@pytest.mark.parametrize(
    ("user", "scope"), [(None, "connect"), ("nobody", "connect"), ("alice", "introspect")]
)
async def test_what_cannot_be_granted_any_more_opens_no_session(
    service: Service, alice: User, user: str | None, scope: str
) -> None:
    """No user, one that is gone, or nothing left of what was agreed to."""
    grant = CodeGrant(database=service.database, sessions=service.sessions, clock=service.clock)
    client = await service.clients.find("chat")
    assert client is not None
    agreed = Agreed(alice.id if user == "alice" else user, scope)

    with pytest.raises(InvalidGrant):
        async with service.database.write() as connection:
            await grant._start(connection, agreed, client, kind="test", caller=Caller())
