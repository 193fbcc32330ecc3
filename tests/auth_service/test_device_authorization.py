"""Codes of devices."""

from __future__ import annotations

import math
import secrets

import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.device_authorization import ALPHABET, DeviceCodes, normalised
from auth_service.exceptions import InvalidGrant, InvalidScope, TooManyAttempts, UnauthorizedClient
from auth_service.grants.device_code import DeviceCodeGrant
from auth_service.models import Client, User
from auth_service.registration import ClientChange
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES


@pytest.fixture
async def tv(service: Service) -> Client:
    """A television."""
    return await service.registration.add("tv", grants=[DeviceCodeGrant.name], scope="connect more")


@pytest.fixture
async def codes(service: Service, tv: Client) -> DeviceCodes:
    """What it was told."""
    return await service.devices.start(tv, scope="connect", caller=Caller())


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("BCDF-GHJK", "BCDFGHJK"),
        (" bcdf ghjk ", "BCDFGHJK"),
        ("BCDFGHJ", None),
        ("BCDF-GHJKL", None),
        ("BCDF-GHJA", None),
        ("\u0131" * 8, None),
        ("-" * 100_000, None),
        ("", None),
    ],
)
def test_a_code_may_be_typed_as_one_likes(typed: str, stored: str | None) -> None:
    """RFC 8628 section 6.1: case and punctuation do not count."""
    assert normalised(typed) == stored


def test_a_code_is_hard_to_guess() -> None:
    """At least twenty bits, and no vowels."""
    assert math.log2(len(ALPHABET) ** 8) > 34
    assert not set(ALPHABET) & set("AEIOU")


async def test_a_code_finds_what_is_asked_for(service: Service, codes: DeviceCodes) -> None:
    """Client and scope, to be shown."""
    device = await service.devices.find(codes.user_code.lower(), caller=Caller())

    assert device is not None
    assert (device.client.id, device.scopes) == ("tv", frozenset({"connect"}))
    assert await service.devices.find("BBBB-BBBB", caller=Caller()) is None


async def test_a_code_that_is_taken_is_drawn_again(
    service: Service, tv: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device hears nothing of it."""
    letters = iter("B" * 16 + "C" * 8)
    monkeypatch.setattr(secrets, "choice", lambda _: next(letters))

    shown = [(await service.devices.start(tv, scope=None, caller=Caller())).user_code]
    shown.append((await service.devices.start(tv, scope=None, caller=Caller())).user_code)

    assert shown == ["BBBB-BBBB", "CCCC-CCCC"]


async def test_devices_begin_as_often_as_allowed(service: Service, tv: Client) -> None:
    """Per client and address: what is asked for without a password fills no table."""
    here, there = Caller(address="192.0.2.1"), Caller(address="192.0.2.2")
    for _ in range(service.settings.limit_device):
        await service.devices.start(tv, scope=None, caller=here)

    with pytest.raises(TooManyAttempts):
        await service.devices.start(tv, scope=None, caller=here)

    await service.devices.start(tv, scope=None, caller=there)


async def test_a_device_is_decided_about_once(
    service: Service, codes: DeviceCodes, alice: User
) -> None:
    """Of two browsers one is too late (O22)."""
    device = await service.devices.find(codes.user_code, caller=Caller())
    assert device is not None
    await service.devices.approve(device, alice, Caller())

    with pytest.raises(InvalidGrant):
        await service.devices.approve(device, alice, Caller())
    with pytest.raises(InvalidGrant):
        await service.devices.deny(device, Caller())


async def test_codes_cannot_be_guessed_by_trying(service: Service, codes: DeviceCodes) -> None:
    """An address is stopped, and others are not (O22)."""
    guesser = Caller(address="192.0.2.1")
    for _ in range(service.settings.limit_user_code):
        assert await service.devices.find("BBBB-BBBB", caller=guesser) is None
    with pytest.raises(TooManyAttempts):
        await service.devices.find(codes.user_code, caller=guesser)

    other = Caller(address="192.0.2.2")
    assert await service.devices.find(codes.user_code, caller=other) is not None


async def test_a_client_asks_for_what_it_may(service: Service, tv: Client) -> None:
    """And only with the grant."""
    chat = await service.clients.find("chat")
    assert chat is not None

    with pytest.raises(UnauthorizedClient):
        await service.devices.start(chat, scope=None, caller=Caller())
    for scope in ("other", "a  b"):
        with pytest.raises(InvalidScope):
            await service.devices.start(tv, scope=scope, caller=Caller())


async def test_a_client_that_lost_the_scope_is_not_shown(
    service: Service, codes: DeviceCodes
) -> None:
    """The operator was faster than the user."""
    await service.registration.change("tv", ClientChange(scope="more"))

    assert await service.devices.find(codes.user_code, caller=Caller()) is None


async def test_a_password_that_was_replaced_meanwhile_approves_nothing(
    service: Service, codes: DeviceCodes, alice: User, clock: Clock
) -> None:
    """It was right when it was checked, seconds ago, and must not outlive the change."""
    device = await service.devices.find(codes.user_code, caller=Caller())
    assert device is not None
    await service.administration.set_password(alice.id, "another-long-passphrase-of-hers")
    clock.now += 5

    with pytest.raises(InvalidGrant):
        await service.devices.approve(device, alice, Caller())

    assert await service.devices.find(codes.user_code, caller=Caller()) is not None
