"""The statement about a token."""

from __future__ import annotations

from auth_service.models import Client, Username
from auth_service.store import clients, revocations, sessions, token_states, users
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation
from auth_service.store.sessions import NewSession
from auth_service.store.token_states import TokenState


async def test_all_that_counts_is_found_in_one_look(database: Database) -> None:
    """Client, user, session and the token's own id; what is missing is said."""

    async def look(sub: str, client_id: str = "chat", jti: str = "j") -> TokenState | None:
        return await token_states.of(database, sub=sub, client_id=client_id, sid="s1", jti=jti)

    async with database.write() as connection:
        client = Client("chat", None, frozenset(), frozenset({"connect"}), False, 1)
        await clients.add(connection, client)
        alice, bob = [
            await users.add(
                connection,
                Username.parse(name),
                password_hash="x",
                scope="connect",
                demo=False,
                now=1,
            )
            for name in ("alice", "bob")
        ]
        session = NewSession(
            id="s1",
            user_id=alice.id,
            client_id="chat",
            kind="password",
            scope="connect",
            auth_time=1,
            now=1,
            token_hash=None,
            idle_expires_at=50,
            expires_at=100,
            address="",
            user_agent="",
        )
        await sessions.add(connection, session)
        entry = Revocation(kind="jti", value="revoked", until=9, reason="token_revoked")
        await revocations.append(connection, entry, now=1)

    assert await look(alice.id) == TokenState(False, 0, "alice", False, 0, True, False)
    assert await look(bob.id) == TokenState(False, 0, "bob", False, 0, False, False)
    assert await look("nobody") == TokenState(False, 0, None, None, None, False, False)
    assert await look(alice.id, client_id="nobody") is None
    revoked = await look(alice.id, jti="revoked")
    assert revoked is not None
    assert revoked.revoked
    async with database.write() as connection:
        await sessions.end(connection, "s1", reason="logout", now=2)
        await users.set_tokens_after(connection, alice.id, 7)
        await clients.set_tokens_after(connection, "chat", 8)
    assert await look(alice.id) == TokenState(False, 8, "alice", False, 7, False, False)
