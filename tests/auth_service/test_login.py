"""The one way in."""

from __future__ import annotations

import asyncio

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant, InvalidRequest, Overloaded, TooManyAttempts
from auth_service.limits import Attempt
from auth_service.models import User
from auth_service.passwords import Verdict
from auth_service.store.tables import AUDIT_EVENTS
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES


async def test_a_name_and_its_password_lead_to_the_user(
    service: Service, alice: User, password: str
) -> None:
    """Whatever the name's case."""
    found = await service.login.authenticate("ALICE", password, caller=Caller())

    assert found == alice


async def test_a_wrong_password_leads_to_nobody(service: Service, alice: User) -> None:
    """The answer is that for an unknown name."""
    for name in (alice.username, "nobody"):
        with pytest.raises(InvalidGrant):
            await service.login.authenticate(name, "wrong", caller=Caller())


def test_what_nobody_can_have_typed_is_refused(service: Service) -> None:
    """Before anything is looked up."""
    for name, word in (("x" * 257, "y"), ("x", "y" * 257)):
        with pytest.raises(InvalidRequest):
            service.login.check_lengths(name, word)


class Watch:
    """Counts the hashes of a service.

    Args:
        service: Whose.
        monkeypatch: Puts things back.
    """

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes = 0
        verify = service.hasher.verify

        async def counted(password: str, stored: str | None) -> Verdict:
            self.hashes += 1
            return await verify(password, stored)

        monkeypatch.setattr(service.hasher, "verify", counted)


async def _events(service: Service) -> list[tuple[str, str, str, str]]:
    async with service.database.read() as connection:
        rows = await connection.execute(AUDIT_EVENTS.select().order_by(AUDIT_EVENTS.c.id))
        return [
            (row.event, row.outcome, row.subject, row.reason)
            for row in rows
            if not row.event.startswith("key_")
        ]


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("name", ["alice", "nobody", "\x00 no name", "x" * 256])
async def test_a_locked_account_answers_alike_and_hashes_nothing(
    service: Service, password: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O6: whether there is such a user or not, and whether the password is right."""
    watch, caller = Watch(service, monkeypatch), Caller(address="192.0.2.1")
    for _ in range(10):
        with pytest.raises(InvalidGrant):
            await service.login.authenticate(name, "wrong", caller=caller)
    assert watch.hashes == 10

    answers = set()
    for word in ("wrong", password):
        with pytest.raises(TooManyAttempts) as refused:
            await service.login.authenticate(name, word, caller=caller)
        answers.add((str(refused.value), refused.value.headers["Retry-After"]))

    assert answers == {
        ("429 too_many_attempts: too many attempts, try again later", "1"),
    }
    assert watch.hashes == 10
    logins = service.metrics.registry.get_sample_value
    assert logins("auth_logins_total", {"result": "limited"}) == 2


async def test_the_audit_tells_of_logins_and_locks(
    service: Service, alice: User, password: str
) -> None:
    """But never a name that nobody has: it may be somebody's password."""
    caller = Caller(address="192.0.2.1")
    await service.login.authenticate("alice", password, caller=caller)
    with pytest.raises(InvalidGrant):
        await service.login.authenticate("hunter2", "wrong", caller=caller)
    for _ in range(10):
        with pytest.raises(InvalidGrant):
            await service.login.authenticate("alice", "wrong", caller=caller)

    assert await _events(service) == [
        ("user_added", "success", alice.id, ""),
        ("login", "success", alice.id, ""),
        ("login", "failure", "", "unknown_user"),
        *[("login", "failure", alice.id, "wrong_password")] * 10,
        ("account_locked", "success", alice.id, "1s"),
    ]


@pytest.mark.usefixtures("alice")
async def test_an_overload_is_no_failure(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said about the password."""

    async def refuse(*_: object) -> Verdict:
        raise Overloaded

    with monkeypatch.context() as patched:
        patched.setattr(service.hasher, "verify", refuse)
        for _ in range(15):
            with pytest.raises(Overloaded):
                await service.login.authenticate("alice", "wrong", caller=Caller())

    with pytest.raises(InvalidGrant):
        await service.login.authenticate("alice", "wrong", caller=Caller())


async def test_an_operator_unlocks_an_account(service: Service, alice: User, password: str) -> None:
    """Audited."""
    for number in range(10):
        with pytest.raises(InvalidGrant):
            await service.login.authenticate(
                "alice", "wrong", caller=Caller(address=f"192.0.2.{number}")
            )
    home = Caller(address="198.51.100.1")
    with pytest.raises(TooManyAttempts):
        await service.login.authenticate("alice", password, caller=home)

    assert await service.accounts.unlock("Alice")

    elsewhere = Caller(address="198.51.100.2")
    assert await service.login.authenticate("alice", password, caller=elsewhere) == alice
    assert ("account_unlocked", "success", alice.id, "") in await _events(service)


@pytest.mark.usefixtures("alice")
async def test_who_would_not_be_hashed_in_time_does_not_ask_the_database(
    service: Service, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O7: as many inside as may hash and wait, all others are turned away at once."""
    asked, go_on = 0, asyncio.Event()
    begin = service.limits.begin_login

    async def counted(account: str, address: str) -> Attempt:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return await begin(account, address)

    monkeypatch.setattr(service.limits, "begin_login", counted)
    monkeypatch.setattr(service.hasher, "_capacity", 3)
    waiting = [
        asyncio.create_task(service.login.authenticate("alice", password, caller=Caller()))
        for _ in range(10)
    ]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    while len(pending) > 3:
        more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert all(isinstance(task.exception(), Overloaded) for task in done)
    assert asked <= 2
    go_on.set()
    await asyncio.gather(*pending)

    assert (len(done), asked) == (7, 3)
    await service.login.authenticate("alice", password, caller=Caller())
