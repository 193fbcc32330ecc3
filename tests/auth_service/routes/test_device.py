"""The page on which a device is approved."""

from __future__ import annotations

import html
import re

import httpx2
import pytest

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.device_authorization import DeviceCodes
from auth_service.grants.device_code import DeviceCodeGrant

ORIGIN = {"Origin": "https://localhost:8443"}


@pytest.fixture
async def codes(service: Service) -> DeviceCodes:
    """The codes of a television."""
    tv = await service.registration.add(
        "tv", name="TV & more", grants=[DeviceCodeGrant.name], scope="connect"
    )
    return await service.devices.start(tv, scope=None, caller=Caller())


async def _open(http: httpx2.AsyncClient, codes: DeviceCodes) -> dict[str, str]:
    page = await http.get("/device", params={"user_code": codes.user_code})
    assert page.status_code == 200
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {html.unescape(name): html.unescape(value) for name, value in found}


async def _poll(http: httpx2.AsyncClient, codes: DeviceCodes) -> httpx2.Response:
    form = {
        "grant_type": DeviceCodeGrant.name,
        "client_id": "tv",
        "device_code": codes.device_code,
    }
    return await http.post("/token", data=form)


async def test_without_a_code_the_page_asks_for_it(http: httpx2.AsyncClient) -> None:
    """A label, no script, and nothing kept."""
    answer = await http.get("/device")

    assert answer.status_code == 200
    assert '<label for="user_code">' in answer.text
    assert "<script" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_an_unknown_code_is_asked_for_again(http: httpx2.AsyncClient) -> None:
    """With what was typed, escaped."""
    for answer in (
        await http.get("/device", params={"user_code": '"><b>'}),
        await http.get("/device", params={"user_code": "BBBB-BBBB"}),
    ):
        assert answer.status_code == 400
        assert "This code is not known" in answer.text
        assert "<b>" not in answer.text


@pytest.mark.usefixtures("alice")
async def test_a_user_approves_what_is_shown(
    http: httpx2.AsyncClient, codes: DeviceCodes, password: str
) -> None:
    """Client, scope and code; then the device gets its token."""
    shown = (await http.get("/device", params={"user_code": codes.user_code})).text
    assert "TV &amp; more asks for access" in shown
    assert codes.user_code in shown
    form = await _open(http, codes) | {"username": "alice", "password": password}

    answer = await http.post("/device", data=form, headers=ORIGIN)

    assert answer.status_code == 200
    assert "go back to your device" in answer.text
    assert (await _poll(http, codes)).status_code == 200
    again = await http.post("/device", data=form, headers=ORIGIN)
    assert again.status_code == 400


@pytest.mark.usefixtures("alice")
async def test_a_wrong_password_shows_the_form_again(
    http: httpx2.AsyncClient, codes: DeviceCodes
) -> None:
    """And the device waits on."""
    form = await _open(http, codes) | {"username": "alice", "password": "wrong"}

    answer = await http.post("/device", data=form, headers=ORIGIN)

    assert answer.status_code == 400
    assert "Wrong user name or password." in answer.text
    assert (await _poll(http, codes)).json()["error"] == "authorization_pending"


async def test_a_user_may_refuse(http: httpx2.AsyncClient, codes: DeviceCodes) -> None:
    """Without typing anything."""
    form = await _open(http, codes) | {"decision": "deny"}

    assert (await http.post("/device", data=form, headers=ORIGIN)).status_code == 200
    assert (await _poll(http, codes)).json()["error"] == "access_denied"


async def test_other_sites_and_other_browsers_cannot_approve(
    http: httpx2.AsyncClient, codes: DeviceCodes
) -> None:
    """RFC 8628 section 5.4: above all nobody approves without seeing it."""
    form = await _open(http, codes)

    foreign = await http.post("/device", data=form, headers={"Origin": "https://evil.example"})
    http.cookies.clear()
    other = await http.post("/device", data=form, headers=ORIGIN)

    assert (foreign.status_code, other.status_code) == (403, 403)


async def test_who_guesses_is_told_when_to_come_again(
    http: httpx2.AsyncClient, service: Service
) -> None:
    """By a page, with the status and the header."""
    for _ in range(service.settings.limit_user_code):
        answer = await http.get("/device", params={"user_code": "BBBB-BBBB"})
        assert answer.status_code == 400

    answer = await http.get("/device", params={"user_code": "BBBB-BBBB"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"].startswith("text/html")
