"""The index of users: every connection is found by its user, and nothing is left of the gone."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ws_gateway.users import UserIndex


class TestUserIndex:
    """Few have several connections; a service may have thousands."""

    def test_connections_of_a_user(self) -> None:
        """One, several, one again, none."""
        index: UserIndex[str] = UserIndex()
        index.add("alice", "1")
        index.add("bob", "2")
        assert list(index.connections("alice")) == ["1"]

        index.add("alice", "3")
        index.add("alice", "3")
        assert sorted(index.connections("alice")) == ["1", "3"]
        assert len(index) == 2
        assert [index.count(user) for user in ("alice", "bob", "carol")] == [2, 1, 0]

        index.remove("alice", "1")
        assert list(index.connections("alice")) == ["3"]
        assert "alice" in index
        index.remove("alice", "3")
        assert list(index.connections("alice")) == []
        assert "alice" not in index

    def test_another_users_connection_is_not_removed(self) -> None:
        """Nor one that was never there."""
        index: UserIndex[str] = UserIndex()
        index.add("alice", "1")

        index.remove("alice", "2")
        index.remove("bob", "1")

        assert list(index.connections("alice")) == ["1"]

    def test_what_was_found_may_be_closed(self) -> None:
        """Closing changes the index while its answer is gone through."""
        index: UserIndex[int] = UserIndex()
        for number in range(10):
            index.add("alice", number)

        for number in index.connections("alice"):
            index.remove("alice", number)

        assert len(index) == 0

    @given(
        st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=40)
    )
    def test_it_is_a_set_for_each_user(self, steps: list[tuple[bool, str, int]]) -> None:
        """Whatever comes and goes in whatever order."""
        index: UserIndex[int] = UserIndex()
        model: set[tuple[str, int]] = set()
        for comes, user, number in steps:
            if comes:
                index.add(user, number)
                model.add((user, number))
            else:
                index.remove(user, number)
                model.discard((user, number))

            for name in "ab":
                assert {(name, found) for found in index.connections(name)} == {
                    pair for pair in model if pair[0] == name
                }
            assert len(index) == len({user for user, _ in model})
