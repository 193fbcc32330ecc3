"""The canary's attempts against the real services: what succeeds, and where the others end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.canary.running import LONG, Canary
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The services and their front."""
    running = Embedded(tmp_path_factory.mktemp("canary")).start()
    yield running
    running.stop()


def alice(server: Embedded, **settings: Any) -> Canary:  # noqa: ANN401
    """Make one in a room of the demonstration, that tries often."""
    return Canary(
        server,
        **{
            "user": "alice",
            "password": server.passwords["alice"],
            "client_id": "",
            "channel": "room:canary-{sub}",
            **settings,
        },
    )


async def test_it_hears_what_it_says(server: Embedded) -> None:
    """Each round trip is timed, on one connection with one token; none is missed."""
    async with alice(server).running() as canary:
        await canary.until(lambda: canary.count("receive") >= 3)

        rounds = canary.count("receive")
        assert canary.value("round_trip_seconds_count") == rounds
        assert 0 < canary.value("round_trip_seconds_sum") < rounds * LONG
        assert canary.value("last_success_timestamp_seconds") > 0
        assert canary.count("login") == 1
        stages = ("login", "connect", "publish", "receive")
        assert [canary.count(stage, "failure") for stage in stages] == [0] * 4
        assert canary.value("missed_publications_total") == 0
        assert canary.value("reconnects_total") == 0


async def test_it_says_goodbye_before_it_ends(server: Embedded) -> None:
    """No gateway has to find out, and no socket is left in this process."""
    async with alice(server).running() as canary:
        await canary.until(lambda: canary.count("receive"))
        before = disconnects(server, 1000)

    await canary.until(lambda: disconnects(server, 1000) > before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def disconnects(server: Embedded, code: int) -> float:
    """Count the connections that ended with a code."""
    name = f'gateway_disconnects_total{{code="{code}"}} '
    lines = server.probe.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def test_what_does_not_come_back_in_time_failed_on_its_way(
    server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front took it, so the failure is of the last stage."""
    canary = alice(server, deadline_seconds=0.5)
    monkeypatch.setattr(canary.probe, "received", lambda _data: None)

    async with canary.running():
        await canary.until(lambda: canary.count("receive", "failure"))

    assert canary.count("publish") >= 1
    assert canary.count("receive") == 0
    assert canary.value("last_success_timestamp_seconds") == 0


async def test_what_is_swallowed_is_missed_when_the_next_one_comes(
    server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told apart from what is late: a later one came."""
    canary = alice(server, deadline_seconds=0.5)
    heard = canary.probe.received

    def receive(data: Any) -> None:  # noqa: ANN401 - JSON
        if data["number"] % 2:
            heard(data)

    monkeypatch.setattr(canary.probe, "received", receive)
    async with canary.running():
        await canary.until(lambda: canary.value("missed_publications_total"))

    assert canary.count("receive", "failure") >= 1


async def test_strangers_in_its_channel_are_not_heard(server: Embedded) -> None:
    """Nor an earlier process of its own; and nonsense does not end it."""
    async with alice(server, channel="room:shared").running() as canary:
        await canary.until(lambda: canary.count("receive") >= 1)
        async with server.sdk(token=server.token("bob")) as bob:
            ours = canary.probe._run
            said: list[Any] = [{"run": "other", "number": 10**9}, [], "x", None, {"run": ours}]
            said += [{"run": ours, "number": number} for number in ("x", -1, 10**9, None)]
            for data in said:
                await bob.publish("room:shared", data)
        before = canary.count("receive")
        await canary.until(lambda: canary.count("receive") > before)

        assert canary.value("missed_publications_total") == 0
        assert canary.count("receive", "failure") == 0


async def test_a_channel_that_is_refused_is_no_connection(server: Embedded) -> None:
    """Nothing was ever published."""
    async with alice(server, channel="nowhere:x", deadline_seconds=5.0).running() as canary:
        await canary.until(lambda: canary.count("connect", "failure") >= 2)

        assert canary.count("login") == 1
        assert canary.count("publish") + canary.count("publish", "failure") == 0


async def test_a_wrong_password_is_no_connection_and_is_tried_once(server: Embedded) -> None:
    """A minute has to pass before the service is asked to hash again."""
    async with alice(server, password="wrong", deadline_seconds=5.0).running() as canary:
        await canary.until(lambda: canary.count("connect", "failure") >= 3)

        assert canary.count("login", "failure") == 1
        assert canary.count("connect") == 0


async def test_it_logs_in_again_after_its_session_was_ended(server: Embedded) -> None:
    """Which tells an SDK to stay away; a program that is to watch does not."""
    # The end may come while a publication is under way, whose deadline is then waited for.
    bob = alice(server, user="bob", password=server.passwords["bob"], deadline_seconds=5.0)
    async with bob.running() as canary:
        await canary.until(lambda: canary.count("receive") >= 1)
        bearer = {"Authorization": f"Bearer {server.token('bob')}"}
        body = {"password": server.passwords["bob"]}
        ended = await asyncio.to_thread(
            server.http.request, "DELETE", "/sessions", headers=bearer, json=body
        )
        assert ended.status_code == 204, ended.text
        await canary.until(lambda: canary.value("reconnects_total"))
        before = canary.count("receive")
        await canary.until(lambda: canary.count("receive") > before)

        assert canary.count("login") == 2
