"""Password hashing and its bounded door."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from importlib import metadata

import pytest

from auth_service.exceptions import ConfigurationError, Overloaded, WeakPassword
from auth_service.metrics import Metrics
from auth_service.passwords import (
    POLICY,
    HashParameters,
    PasswordHasher,
    check_new_password,
    password_fits,
    require_libpass,
)

CHEAP = HashParameters(memory_kib=8, passes=1, lanes=1)
PASSWORD = "correct horse battery staple"


def _hasher(
    metrics: Metrics,
    *,
    threads: int = 1,
    queue: int = 4,
    wait_seconds: float = 10,
    parameters: HashParameters = CHEAP,
) -> PasswordHasher:
    return PasswordHasher(
        threads=threads,
        queue=queue,
        wait_seconds=wait_seconds,
        metrics=metrics,
        parameters=parameters,
    )


@pytest.fixture
def metrics() -> Metrics:
    """Where hashes are counted."""
    return Metrics()


@pytest.fixture
async def hasher(metrics: Metrics) -> AsyncIterator[PasswordHasher]:
    """One thread, four places to wait, cheap hashes."""
    made = _hasher(metrics)
    yield made
    made.close()


def _count(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


async def test_a_password_verifies_against_its_hash_and_no_other_does(
    hasher: PasswordHasher,
) -> None:
    """Exactly as received: case, blanks and Unicode form count (ASVS 6.2.8)."""
    stored = await hasher.hash("p\u00e4sswort mit Umlaut")

    assert (await hasher.verify("p\u00e4sswort mit Umlaut", stored)).correct
    for other in ("pa\u0308sswort mit Umlaut", "p\u00e4sswort mit Umlaut ", "", "x"):
        assert not (await hasher.verify(other, stored)).correct


async def test_nothing_is_truncated(hasher: PasswordHasher) -> None:
    """72 equal bytes, or a NUL, do not make two passwords one."""
    stored = await hasher.hash("x" * 72 + "Y")
    with_nul = await hasher.hash("abc\0def")

    assert not (await hasher.verify("x" * 72 + "Z", stored)).correct
    assert not (await hasher.verify("abc", with_nul)).correct


async def test_hashes_are_argon2id_of_the_policy() -> None:
    """OWASP's minimum: 19 MiB, two passes, one lane."""
    hasher = _hasher(Metrics(), parameters=POLICY)
    stored = await hasher.hash(PASSWORD)
    hasher.close()

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "plain text",
        "$argon2id$",
        "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
        "$argon2id$v=19$m=19456,t=99,p=1$c29tZXNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
        "$argon2id$v=19$m=19456,t=2,p=64$c29tZXNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
        "$argon2id$v=19$m=1,t=1,p=4$c29tZXNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
    ],
)
async def test_whatever_is_stored_costs_one_hash_and_is_wrong(
    hasher: PasswordHasher, metrics: Metrics, stored: str | None
) -> None:
    """No user, unreadable hash, cost over the ceiling: plain False after the same work."""
    verdict = await hasher.verify(PASSWORD, stored)

    assert not verdict.correct
    assert verdict.replacement is None
    assert _count(metrics, "auth_password_hash_seconds_count") == 1


@pytest.mark.parametrize("password", ["", "\0", "\ud800", "x" * 5000, "\U0001f511" * 256])
async def test_no_password_makes_the_library_fail(hasher: PasswordHasher, password: str) -> None:
    """Every library error is a plain False."""
    stored = await hasher.hash(PASSWORD)

    assert not (await hasher.verify(password, stored)).correct


async def test_a_weaker_hash_is_replaced_at_login(metrics: Metrics, hasher: PasswordHasher) -> None:
    """Rehash on login, with the right password only."""
    stored = await hasher.hash(PASSWORD)
    stronger = _hasher(metrics, parameters=HashParameters(memory_kib=16, passes=1, lanes=1))

    right = await stronger.verify(PASSWORD, stored)
    wrong = await stronger.verify("wrong", stored)

    assert right.replacement is not None
    assert right.replacement.startswith("$argon2id$v=19$m=16,")
    assert wrong.replacement is None
    stronger.close()


class _Gate:
    """Work that a test holds up in its thread."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def work(self) -> str:
        self.entered.release()
        assert self.open.wait(30)
        return "done"


async def test_a_full_queue_refuses_at_once(metrics: Metrics) -> None:
    """One runs, one waits, the third is told to come again."""
    hasher, gate = _hasher(metrics, queue=1), _Gate()
    running = asyncio.create_task(hasher._run(gate.work))
    await asyncio.to_thread(gate.entered.acquire)
    waiting = asyncio.create_task(hasher._run(gate.work))
    await asyncio.sleep(0)  # lets it join the queue
    assert hasher._waiting == 1

    with pytest.raises(Overloaded):
        await hasher._run(gate.work)

    gate.open.set()
    assert [await running, await waiting] == ["done", "done"]
    assert _count(metrics, "auth_password_hash_rejected_total") == 1
    hasher.close()


async def test_too_long_a_wait_is_refused(metrics: Metrics) -> None:
    """The wait is bounded too, and the place in the queue is given back."""
    hasher, gate = _hasher(metrics, wait_seconds=0.01), _Gate()
    running = asyncio.create_task(hasher._run(gate.work))
    await asyncio.to_thread(gate.entered.acquire)

    with pytest.raises(Overloaded):
        await hasher._run(gate.work)

    assert hasher._waiting == 0
    gate.open.set()
    assert await running == "done"
    hasher.close()


async def test_a_caller_that_goes_keeps_its_permit_until_its_hash_ends(metrics: Metrics) -> None:
    """Hanging up must not make room for another hash: a thread cannot be stopped."""
    hasher, gate = _hasher(metrics, queue=0), _Gate()
    caller = asyncio.create_task(hasher._run(gate.work))
    await asyncio.to_thread(gate.entered.acquire)

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    with pytest.raises(Overloaded):
        await hasher._run(gate.work)
    gate.open.set()
    async with hasher._permits:  # comes free with the end of the hash
        pass
    assert await hasher._run(lambda: "again") == "again"
    hasher.close()


def test_the_length_of_a_presented_password_is_bounded() -> None:
    """256 characters and 1,024 bytes, counted before any hash."""
    assert password_fits("x" * 256)
    assert not password_fits("x" * 257)
    assert password_fits("\U0001f511" * 256)
    assert not password_fits("\ud800" * 257)


@pytest.mark.parametrize("password", ["", "fourteen chars", "x" * 257, "with a NUL \0 inside"])
def test_a_new_password_follows_the_policy(password: str) -> None:
    """15 to 256 characters, no rules of composition."""
    with pytest.raises(WeakPassword):
        check_new_password(password)


def test_fifteen_characters_are_enough() -> None:
    """The lower bound is inside."""
    check_new_password("fifteen chars !")


def test_the_abandoned_passlib_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both distributions own the package `passlib`."""
    require_libpass()

    monkeypatch.setattr(metadata, "distribution", lambda _: object())
    with pytest.raises(ConfigurationError, match="libpass"):
        require_libpass()


@pytest.mark.parametrize(
    "password",
    [
        "QWERTYuiopasdfghjkl",
        "passwordpassword",
        "aaaaaaaaaaaaaaaaaaaa",
        "123123123123123123",
        "my Drawbridge password",
        "i am Alice Cooper myself",
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    """Common ones, repetitions, and names in any case."""
    with pytest.raises(WeakPassword) as refusal:
        check_new_password(password, username="alice cooper")
    assert password not in str(refusal.value)


def test_a_short_name_may_be_in_a_password() -> None:
    """It is in too many words."""
    check_new_password("correct horse battery staple", username="ery")


async def test_hashes_step_back_for_what_is_quick(hasher: PasswordHasher) -> None:
    """Only their threads do: the others go first when the cores are wanted."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    priority = await hasher._run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    assert priority > own == os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
