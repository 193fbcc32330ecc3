"""The revocation log as a Redis stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from auth_service.app import Service, open_service
from auth_service.caller import Caller
from auth_service.models import User
from auth_service.redis_address import connect
from auth_service.revocation_publisher import STREAM, RevocationPublisher
from auth_service.settings import Settings
from auth_service.store import revocations
from auth_service.store.revocations import MARGIN_SECONDS, Revocation
from auth_service.store.tables import REVOCATION_LOG, REVOCATIONS
from tests.auth_service.conftest import Clock
from tests.redis_server import RedisServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis."""
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def publisher(
    service: Service, redis: RedisServer, clock: Clock
) -> AsyncIterator[RevocationPublisher]:
    """A publisher that does nothing by itself."""
    client = connect(redis.url, STREAM)
    yield RevocationPublisher(
        log=service.revocation_log, redis=client, metrics=service.metrics, clock=clock
    )
    await client.aclose()


async def _append(service: Service, *values: str, until: int | None = None) -> None:
    for value in values:
        entry = Revocation(
            kind="sid",
            value=value,
            sub="alice",
            until=until or int(service.clock()) + 100,
            reason="logout",
        )
        async with service.database.write() as connection:
            await revocations.append(connection, entry, now=int(service.clock()))


async def _until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 (what another process sees)
            await asyncio.sleep(0.02)


def _ids(redis: RedisServer) -> list[str]:
    return [entry.decode() for entry, _ in redis.ask("XRANGE", STREAM, "-", "+")]


async def test_the_stream_begins_with_the_log_and_has_every_entry(
    service: Service, redis: RedisServer, publisher: RevocationPublisher, now: float
) -> None:
    """As the gateways are promised."""
    await publisher.publish()
    await _append(service, "s1", "s2")
    await publisher.publish()
    await publisher.publish()

    log, _ = await service.revocation_log.position()
    first, second, third = redis.ask("XRANGE", STREAM, "-", "+")
    assert first == (b"0-1", {b"kind": b"log", b"value": log.encode()})
    assert second[0] == b"1-0"
    assert second[1] == {
        b"kind": b"sid",
        b"value": b"s1",
        b"sub": b"alice",
        b"before": b"0",
        b"until": str(int(now) + 100).encode(),
        b"reason": b"logout",
    }
    assert third[0] == b"2-0"


@pytest.mark.parametrize(
    "loss",
    [
        ("DEL", STREAM),
        ("XTRIM", STREAM, "MAXLEN", "1"),
        ("XDEL", STREAM, "0-1"),
        ("XADD", STREAM, "9-0", "kind", "sid"),
        ("FLUSHALL",),
    ],
)
async def test_a_stream_that_lost_something_is_written_again(
    service: Service, redis: RedisServer, publisher: RevocationPublisher, loss: tuple[str, ...]
) -> None:
    """Emptied, without its beginning, or further than the log ever was."""
    await _append(service, "s1", "s2", "s3")
    await publisher.publish()
    redis.ask(*loss)

    await publisher.publish()

    assert _ids(redis) == ["0-1", "1-0", "2-0", "3-0"]


async def test_a_lost_tail_is_appended(
    service: Service, redis: RedisServer, publisher: RevocationPublisher
) -> None:
    """As after a failover."""
    await _append(service, "s1")
    await publisher.publish()
    await _append(service, "s2", "s3")
    redis.ask("XADD", STREAM, "2-0", "kind", "sid", "value", "s2")

    await publisher.publish()

    assert _ids(redis) == ["0-1", "1-0", "2-0", "3-0"]


async def test_the_stream_of_another_database_is_replaced(
    service: Service, redis: RedisServer, publisher: RevocationPublisher
) -> None:
    """Its numbers mean something else."""
    redis.ask("XADD", STREAM, "0-1", "kind", "log", "value", "another")
    redis.ask("XADD", STREAM, "7-0", "kind", "sid", "value", "x")
    await _append(service, "s1")

    await publisher.publish()

    assert _ids(redis) == ["0-1", "1-0"]


async def test_expired_entries_are_left_out_and_taken_out(
    service: Service, redis: RedisServer, publisher: RevocationPublisher, clock: Clock
) -> None:
    """A minute late, but never the first, nor the last, by which gateways see that it goes on."""
    await _append(service, "old", until=int(clock()) - MARGIN_SECONDS)
    await _append(service, "short", until=int(clock()) + 10)
    await _append(service, "long")
    await publisher.publish()
    assert _ids(redis) == ["0-1", "2-0", "3-0"]
    clock.now += 10 + MARGIN_SECONDS - 1
    await publisher.tidy()
    assert _ids(redis) == ["0-1", "2-0", "3-0"]
    clock.now += 1

    await publisher.tidy()

    assert _ids(redis) == ["0-1", "3-0"]
    clock.now += 100
    await publisher.tidy()
    assert _ids(redis) == ["0-1", "3-0"]
    await publisher.publish()
    assert _ids(redis) == ["0-1", "3-0"]


async def test_more_than_a_page_is_published(
    service: Service,
    redis: RedisServer,
    publisher: RevocationPublisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In order, whether written anew or appended."""
    monkeypatch.setattr("auth_service.revocation_log.PAGE", 2)
    await _append(service, *"abcde")
    await publisher.publish()
    await _append(service, *"fghij")
    await publisher.publish()

    assert _ids(redis) == ["0-1", *(f"{seq}-0" for seq in range(1, 11))]


async def test_several_processes_publish_beside_each_other(
    settings: Settings, redis: RedisServer, clock: Clock, alice: User
) -> None:
    """Every entry once, whoever wrote it, also when Redis was killed in between."""
    published = settings.model_copy(update={"redis_url": redis.url})
    async with (
        open_service(published, clock=clock) as first,
        open_service(published, clock=clock) as second,
    ):
        for number in range(10):
            for service in (first, second):
                await service.administration.log_out_user(alice.id)
            if number == 5:
                redis.kill()
                redis.start()
        await _until(lambda: _ids(redis) == ["0-1", *(f"{seq}-0" for seq in range(1, 21))])
        lag = "auth_revocation_publish_seconds_count"
        assert first.metrics.registry.get_sample_value(lag)


async def test_without_redis_nobody_waits_and_the_log_says_so_once(
    settings: Settings, tmp_path: Path, clock: Clock, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the address get into the log; when it is there, all is published."""
    redis = RedisServer(tmp_path)
    url = redis.url.replace("redis://", "redis://auth:secret@")
    published = settings.model_copy(update={"redis_url": url})
    failures = "auth_revocation_publish_failures_total"
    with caplog.at_level(logging.INFO, logger="auth_service"):
        async with open_service(published, clock=clock) as service:
            count = service.metrics.registry.get_sample_value
            await _until(lambda: (count(failures) or 0) >= 3)
            await service.administration.log_out_user(alice.id, caller=Caller())
            redis.start()
            redis.ask("ACL", "SETUSER", "auth", "on", ">secret", "+@all", "~*")
            await _until(lambda: len(_ids(redis)) == 2)
    redis.kill()

    events = [record.getMessage() for record in caplog.records]
    assert events.count("revocations_not_published") == 1
    assert not [record for record in caplog.records if "secret" in str(record.__dict__)]


async def test_the_user_of_the_documentation_may_do_what_it_must(
    service: Service, redis: RedisServer, clock: Clock
) -> None:
    """And nothing else."""
    rights = (
        "~drawbridge:1:revocations +xadd +xdel +xrange +xrevrange +del +multi +exec +hello +select"
    )
    redis.ask("ACL", "SETUSER", "auth", "on", ">secret", *rights.split())
    client = connect(redis.url.replace("redis://", "redis://auth:secret@"), STREAM)
    publisher = RevocationPublisher(
        log=service.revocation_log, redis=client, metrics=service.metrics, clock=clock
    )

    await publisher.publish()
    await _append(service, "s1", "s2", until=int(clock()) + 1)
    await publisher.publish()
    clock.now += MARGIN_SECONDS + 5
    await publisher.tidy()
    await client.aclose()

    assert _ids(redis) == ["0-1", "2-0"]


async def test_a_database_that_was_restored_is_published_again(
    service: Service, redis: RedisServer, publisher: RevocationPublisher, clock: Clock
) -> None:
    """Redis remembers the highest number even of entries that were taken out, and takes none below.

    A backup brings the log back with an earlier top; what is revoked then must be heard of.
    """
    for number in range(1, 6):
        await _append(service, f"s{number}", until=int(clock()) + 10)
    await publisher.publish()
    clock.now += MARGIN_SECONDS + 20
    await publisher.tidy()
    async with service.database.write() as connection:
        await connection.execute(update(REVOCATION_LOG).values(top=2))
        await connection.execute(delete(REVOCATIONS).where(REVOCATIONS.c.seq > 2))
    await _append(service, "revoked after the restoration")

    await publisher.publish()

    assert _ids(redis)[-1] == "3-0"


async def test_a_number_that_redis_refuses_without_having_it_is_no_success(
    service: Service, redis: RedisServer, publisher: RevocationPublisher
) -> None:
    """Whatever has made the stream refuse it."""
    await publisher.publish()
    redis.ask("XADD", STREAM, "9-0", "kind", "sid")
    redis.ask("XDEL", STREAM, "9-0")
    await _append(service, "s1")

    await publisher.publish()

    assert _ids(redis) == ["0-1", "1-0"]


async def test_nothing_ends_the_publishing(
    service: Service,
    redis: RedisServer,
    publisher: RevocationPublisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of ours in one round must not keep all later revocations from the gateways."""
    position = service.revocation_log.position
    rounds = 0

    async def fail_once() -> tuple[str, int]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise TypeError
        return await position()

    monkeypatch.setattr(service.revocation_log, "position", fail_once)
    publishing = asyncio.create_task(publisher.run())
    try:
        await _until(lambda: publishing.done() or _ids(redis) == ["0-1"])
        assert not publishing.done()
    finally:
        publishing.cancel()
        await asyncio.wait([publishing])


async def test_it_ends_though_the_client_of_redis_loses_the_cancellation(
    publisher: RevocationPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``wait_for`` of Python 3.11 does where what it waits for is done; shutdown hung."""
    begun = asyncio.Event()

    async def publish() -> None:
        if begun.is_set():
            return
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(publisher, "publish", publish)
    running = asyncio.create_task(publisher.run())
    await begun.wait()
    running.cancel()

    await asyncio.wait({running}, timeout=20)
    assert running.cancelled()
