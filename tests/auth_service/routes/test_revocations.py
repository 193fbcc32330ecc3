"""``GET /revocations``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from auth_service.app import Service, create_app, create_internal_app
from auth_service.models import User
from auth_service.settings import Settings

KEY = "k" * 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with a key."""
    return settings.model_copy(update={"revocations_key": KEY})


@pytest.fixture
async def internal(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the internal application that has the key."""
    transport = httpx2.ASGITransport(create_internal_app(service))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://internal", headers=headers
    ) as client:
        yield client


async def test_the_log_is_read_from_a_number(
    service: Service, internal: httpx2.AsyncClient, alice: User, now: float
) -> None:
    """As the gateways are promised."""
    empty = (await internal.get("/revocations?wait=0")).json()
    await service.administration.log_out_user(alice.id)
    await service.administration.disable_client("chat")

    first = (await internal.get("/revocations")).json()
    second = (await internal.get(f"/revocations?since=1&log={first['log']}")).json()
    other = (await internal.get("/revocations?since=1&log=another")).json()

    assert (empty["top"], empty["entries"]) == (0, [])
    assert first["entries"][0] == {
        "seq": 1,
        "kind": "sub",
        "value": alice.id,
        "sub": "",
        "before": int(now),
        "until": int(now) + 3660,
        "reason": "admin",
    }
    assert (first["log"], first["top"]) == (empty["log"], 2)
    assert [entry["seq"] for entry in second["entries"]] == [2]
    assert other == first


async def test_without_the_key_nothing_is_told(internal: httpx2.AsyncClient) -> None:
    """401; and the public application does not know the path."""
    for value in ("", "Bearer", "Bearer x", f"Basic {KEY}", f"Bearer {KEY}x"):
        answer = await internal.get("/revocations", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


async def test_it_is_neither_public_nor_there_without_a_key(
    service: Service, settings: Settings
) -> None:
    """404."""
    public = create_app(service)
    service.settings = settings.model_copy(update={"revocations_key": ""})
    for app in (public, create_internal_app(service)):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
            answer = await http.get("/revocations", headers={"Authorization": f"Bearer {KEY}"})
            assert answer.status_code == 404


@pytest.mark.parametrize(
    "query",
    ["since=-1", "since=x", "since=1&since=2", f"since={'9' * 19}", "wait=31", "wait=", "wait=1.5"],
)
async def test_a_malformed_parameter_is_refused(internal: httpx2.AsyncClient, query: str) -> None:
    """400, at once."""
    answer = await internal.get(f"/revocations?{query}")

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = await internal.get(f"/revocations?log={'x' * 65}")
    assert answer.status_code == 400
