"""A group remembers what was prepared for it exactly as long as it stays the same."""

from __future__ import annotations

from ws_gateway.group import Group


def test_what_is_prepared_is_forgotten_when_somebody_comes_or_goes() -> None:
    """And only then."""
    group: Group[int] = Group()
    other: Group[int] = Group()

    def change(what: str) -> None:
        group.prepared = other.prepared = "prepared"
        match what:
            case "add":
                group.add(2)
            case "remove":
                group.remove(2)
            case _:
                group.move([1], other)

    group.add(1)
    for what in ("add", "remove"):
        change(what)
        assert group.prepared is None
        assert other.prepared == "prepared"
    change("move")
    assert (group.prepared, other.prepared) == (None, None)
    assert (group, other) == (set(), {1})
