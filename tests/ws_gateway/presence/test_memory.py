"""What is special of the embedded presence: what it forgets."""

from __future__ import annotations

from ws_gateway.presence.memory import MemoryPresence


class TestBounds:
    """No map grows without bound."""

    async def test_only_the_last_users_are_remembered(self) -> None:
        """The one who went first is forgotten first, also where he had gone before."""
        presence = MemoryPresence(users=2, clock=lambda: 5.0)
        for user in ("alice", "bob", "alice", "carol"):
            presence.arrive(user)
            presence.depart(user)

        assert [await presence.last_seen(user) for user in ("alice", "bob", "carol")] == [
            5,
            None,
            5,
        ]

    async def test_nobody_is_remembered_where_nobody_is_to_be(self) -> None:
        """Without the setting not even who is connected."""
        presence = MemoryPresence()
        presence.arrive("alice")

        assert await presence.last_seen("alice") is None
        assert not presence._connected
