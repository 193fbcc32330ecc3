"""The revocation log as a process sees it."""

from __future__ import annotations

import asyncio
import time

import pytest

from auth_service.app import Service, open_service
from auth_service.exceptions import Stopping
from auth_service.models import User
from auth_service.revocation_log import News
from auth_service.settings import Settings
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES


async def test_who_waits_is_woken_by_a_commit(service: Service, alice: User) -> None:
    """At once; and by none that was rolled back."""
    waiting = asyncio.create_task(service.revocation_log.read(0, known=None, seconds=30))
    await asyncio.sleep(0)

    await service.administration.log_out_user(alice.id)
    begun = time.monotonic()
    news = await waiting

    assert time.monotonic() - begun < 0.2
    assert news.top == 1
    assert [(seq, entry.value) for seq, entry in news.entries] == [(1, alice.id)]


async def test_what_another_process_commits_is_found(
    service: Service, settings: Settings, alice: User, clock: Clock
) -> None:
    """By looking."""
    async with open_service(settings, clock=clock) as other:
        waiting = asyncio.create_task(service.revocation_log.read(0, known=None, seconds=30))
        await other.administration.log_out_user(alice.id)
        assert (await waiting).top == 1


async def test_a_wait_ends_without_news(service: Service) -> None:
    """With the log's id and position."""
    log, _ = await service.revocation_log.position()

    assert await service.revocation_log.read(0, known=log, seconds=0) == News(log, 0, [])


async def test_a_reader_of_another_log_is_answered_at_once(service: Service, alice: User) -> None:
    """So is one that has read more than there is: both begin anew."""
    await service.administration.log_out_user(alice.id)
    log, _ = await service.revocation_log.position()

    for since, known in ((1, "another"), (5, log), (5, None)):
        news = await service.revocation_log.read(since, known=known, seconds=30)
        assert (news.log, news.top, [seq for seq, _ in news.entries]) == (log, 1, [1])


async def test_closing_lets_go_of_who_waits(service: Service) -> None:
    """And of who comes later."""
    waiting = asyncio.create_task(service.revocation_log.read(0, known=None, seconds=30))
    await asyncio.sleep(0)

    service.revocation_log.close()

    with pytest.raises(Stopping):
        await waiting
    with pytest.raises(Stopping):
        await service.revocation_log.read(0, known=None, seconds=30)


async def test_entries_are_counted(service: Service, alice: User) -> None:
    """In the process that appended them."""
    await service.administration.log_out_user(alice.id)
    await service.administration.disable_user(alice.id)

    assert service.metrics.registry.get_sample_value("auth_revocations_total") == 2
