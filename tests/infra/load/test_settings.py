"""What may be chosen for a load test, and what is refused in one line."""

from __future__ import annotations

import pytest

from infra.load.settings import LoadError, Plan, read

HOST = "wss://localhost:8443"


def test_nothing_chosen_is_the_default() -> None:
    """Empty variables are passed on by make."""
    plan = read(dict.fromkeys(("USERS", "RATE", "TIME", "ROOM", "HOST", "TOKENS"), ""), host=HOST)

    assert plan == Plan(host=HOST)
    assert (plan.users, plan.seconds, plan.workers, plan.travel) == (500, 60, 2, "header")


def test_everything_can_be_chosen() -> None:
    """As it is typed."""
    chosen = {
        "USERS": "40",
        "RATE": "10",
        "TIME": "2m",
        "ROOM": "4",
        "EVERY": "0.5",
        "WORKERS": "3",
        "HOST": "wss://[::1]:9443",
        "TOKENS": "connect",
    }

    plan = read(chosen, host=HOST)

    assert plan == Plan(
        users=40,
        rate=10,
        seconds=120,
        room=4,
        every=0.5,
        workers=3,
        host="wss://[::1]:9443",
        travel="connect",
    )
    assert plan.steady_from == 4.5
    assert plan.run_seconds > plan.seconds


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("USERS", "0"),
        ("USERS", "many"),
        ("RATE", "1.5"),
        ("TIME", "1d"),
        ("TIME", "0"),
        ("TIME", "13h"),
        ("TIME", "15s"),
        ("EVERY", "0"),
        ("EVERY", "often"),
        ("WORKERS", "65"),
        ("ROOM", "-1"),
        ("HOST", "https://localhost:8443"),
        ("HOST", "a-machine"),
        ("HOST", "wss://localhost:8443/somewhere"),
        ("TOKENS", "query"),
        ("SCENARIO", "tea"),
        ("SIZE", "0"),
        ("SIZE", "60001"),
    ],
)
def test_a_wrong_one_is_named(variable: str, text: str) -> None:
    """Whoever typed it sees which."""
    with pytest.raises(LoadError, match=f"^{variable}: "):
        read({variable: text}, host=HOST)


def test_a_process_has_a_user() -> None:
    """One without any would report nothing, and look as if it had failed."""
    with pytest.raises(LoadError, match=r"^WORKERS: "):
        read({"USERS": "2", "WORKERS": "3"}, host=HOST)


def test_a_scenario_has_its_own_defaults() -> None:
    """A big room is of all users of a process, and what is chosen still counts."""
    room = read({"SCENARIO": "room", "USERS": "101", "WORKERS": "2"}, host=HOST)
    chosen = read({"SCENARIO": "room", "ROOM": "7", "EVERY": "3"}, host=HOST)

    assert (room.room, room.every) == (51, 1.0)
    assert (chosen.room, chosen.every) == (7, 3.0)
    assert read({"SCENARIO": "slow"}, host=HOST).size > read({}, host=HOST).size


def test_everybody_has_time_to_come_back_from_a_storm() -> None:
    """Else the scenario would show nothing."""
    storm = {"SCENARIO": "storm", "USERS": "10", "RATE": "10", "EVERY": "1"}

    plan = read(storm | {"TIME": "12s"}, host=HOST)

    assert plan.steady_from < plan.storm_at < plan.seconds
    with pytest.raises(LoadError, match=r"^TIME: must be at least 12s"):
        read(storm | {"TIME": "11s"}, host=HOST)
