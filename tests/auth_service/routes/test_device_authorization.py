"""``POST /device_authorization``."""

from __future__ import annotations

import httpx2
import pytest

from auth_service.app import Service
from auth_service.grants.device_code import DeviceCodeGrant


@pytest.fixture(autouse=True)
async def tv(service: Service) -> None:
    """A television."""
    await service.registration.add("tv", grants=[DeviceCodeGrant.name], scope="connect")


async def test_a_device_is_told_two_codes_and_where_to_go(http: httpx2.AsyncClient) -> None:
    """RFC 8628 section 3.2; addresses are the issuer's."""
    answer = await http.post(
        "/device_authorization", data={"client_id": "tv"}, headers={"Host": "evil.example"}
    )

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert body["verification_uri"] == "https://localhost:8443/device"
    assert body["verification_uri_complete"] == (
        f"https://localhost:8443/device?user_code={body['user_code']}"
    )
    assert (body["expires_in"], body["interval"]) == (600, 5)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": "chat"}, 400, "unauthorized_client"),
        ({"client_id": "tv", "scope": "api"}, 400, "invalid_scope"),
    ],
)
async def test_a_refusal_is_that_of_the_token_endpoint(
    http: httpx2.AsyncClient, form: dict[str, str], status: int, error: str
) -> None:
    """Same words, same statuses."""
    answer = await http.post("/device_authorization", data=form)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
