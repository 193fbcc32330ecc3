"""A device asks until its user has decided (O22)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.device_authorization import DeviceCodes
from auth_service.exceptions import InvalidGrant
from auth_service.grants.device_code import DeviceCodeGrant
from auth_service.models import User
from auth_service.store import users
from tests.auth_service.conftest import Clock
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

Poll = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def codes(service: Service) -> DeviceCodes:
    """The codes of a television."""
    for client_id in ("tv", "other"):
        await service.registration.add(client_id, grants=[DeviceCodeGrant.name], scope="connect")
    tv = await service.clients.find("tv")
    assert tv is not None
    return await service.devices.start(tv, scope=None, caller=Caller())


@pytest.fixture
def poll(http: httpx2.AsyncClient, codes: DeviceCodes) -> Poll:
    """Ask as the device; keywords replace fields."""

    async def send(**changes: str) -> httpx2.Response:
        fields = {
            "grant_type": DeviceCodeGrant.name,
            "client_id": "tv",
            "device_code": codes.device_code,
            **changes,
        }
        return await http.post("/token", data=fields)

    return send


async def _error(poll: Poll, **changes: str) -> str:
    answer = await poll(**changes)
    assert answer.status_code == 400
    return str(answer.json()["error"])


async def _approve(service: Service, codes: DeviceCodes, user: User) -> None:
    device = await service.devices.find(codes.user_code, caller=Caller())
    assert device is not None
    await service.devices.approve(device, user, Caller())


async def test_an_approved_device_gets_the_users_token_once(
    service: Service, poll: Poll, codes: DeviceCodes, alice: User
) -> None:
    """Before: not yet; afterwards: the code is used."""
    assert await _error(poll) == "authorization_pending"
    await _approve(service, codes, alice)

    answer = await poll()

    claims = service.tokens.read(answer.json()["access_token"], now=service.clock())
    assert (claims.sub, claims.client_id) == (alice.id, "tv")
    assert await _error(poll) == "invalid_grant"


async def test_who_asks_too_fast_has_to_slow_down(
    poll: Poll, codes: DeviceCodes, clock: Clock
) -> None:
    """By five seconds more each time (RFC 8628 section 3.5)."""
    assert codes.interval == 5
    assert await _error(poll) == "authorization_pending"
    clock.now += 5
    assert await _error(poll) == "authorization_pending"
    clock.now += 4
    assert await _error(poll) == "slow_down"
    clock.now += 9
    assert await _error(poll) == "slow_down"
    clock.now += 15
    assert await _error(poll) == "authorization_pending"


async def test_a_refused_device_is_told(service: Service, poll: Poll, codes: DeviceCodes) -> None:
    """And nobody can approve it any more."""
    device = await service.devices.find(codes.user_code, caller=Caller())
    assert device is not None
    await service.devices.deny(device, Caller())

    assert await _error(poll) == "access_denied"
    assert await service.devices.find(codes.user_code, caller=Caller()) is None


async def test_codes_end_after_ten_minutes(
    service: Service, poll: Poll, codes: DeviceCodes, alice: User, clock: Clock
) -> None:
    """For the device and for its user, approved or not."""
    device = await service.devices.find(codes.user_code, caller=Caller())
    assert device is not None
    clock.now += codes.expires_in

    assert await _error(poll) == "expired_token"
    assert await service.devices.find(codes.user_code, caller=Caller()) is None
    with pytest.raises(InvalidGrant):
        await service.devices.approve(device, alice, Caller())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"device_code": ""}, "invalid_request"),
        ({"device_code": "dc_unknown"}, "invalid_grant"),
        ({"device_code": "x" * 5000}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"client_id": "chat"}, "unauthorized_client"),
    ],
)
async def test_a_code_is_its_devices(poll: Poll, changes: dict[str, str], error: str) -> None:
    """Unknown, missing, of another client."""
    assert await _error(poll, **changes) == error


async def test_a_user_who_was_disabled_meanwhile_gives_nothing(
    service: Service, poll: Poll, codes: DeviceCodes, alice: User
) -> None:
    """Between approving and asking."""
    await _approve(service, codes, alice)
    async with service.database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)

    assert await _error(poll) == "invalid_grant"
