"""O21 and O22: authorization codes, and the codes of devices."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.attacks.running import DEVICE, PASSWORD, REDIRECT_URIS, Services
from tests.attacks.token_requests import refused

pytestmark = pytest.mark.integration

VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)


class Browser:
    """A browser without scripts: it reads a form and sends it back."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._http = httpx2.Client(base_url=services.url, trust_env=False)

    def close(self) -> None:
        """End."""
        self._http.close()

    def open(self, **changes: str | None) -> httpx2.Response:
        """Follow a client's link."""
        fields: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "spa",
            "redirect_uri": REDIRECT_URIS[0],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s",
            **changes,
        }
        return self._http.get(
            "/authorize",
            params={name: value for name, value in fields.items() if value is not None},
        )

    def agree(self, page: httpx2.Response, **changes: str) -> httpx2.Response:
        """Fill the page's form in and send it."""
        fields = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(
                r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page.text
            )
        }
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        return self._http.post(
            urlsplit(str(page.url)).path,
            data=fields
            | {"username": "alice", "password": PASSWORD, "decision": "approve"}
            | changes,
            headers={"Origin": self._services.url, "Cookie": cookie},
        )

    def code(self, **changes: str | None) -> str:
        """Get a code."""
        answer = self.agree(self.open(**changes))
        assert answer.status_code == httpx2.codes.SEE_OTHER, answer.text
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert query["iss"] == [self._services.url]
        assert query["state"] == ["s"]
        return query["code"][0]


@pytest.fixture
def browser(services: Services) -> Iterator[Browser]:
    """A browser of alice's."""
    opened = Browser(services)
    yield opened
    opened.close()


def redeem(services: Services, given: str, **changes: str | None) -> httpx2.Response:
    """Exchange a code."""
    fields: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "client_id": "spa",
        "code": given,
        "redirect_uri": REDIRECT_URIS[0],
        "code_verifier": VERIFIER,
        **changes,
    }
    data = {name: value for name, value in fields.items() if value is not None}
    return services.http.post("/token", data=data)


def test_o21_a_code_is_good_once(services: Services, browser: Browser) -> None:
    """And the second use ends what the first one got."""
    code = browser.code()
    tokens = redeem(services, code)
    assert tokens.status_code == httpx2.codes.OK
    assert services.introspect(tokens.json()["access_token"])["active"]

    refused(redeem(services, code), 400, "invalid_grant")

    assert services.introspect(tokens.json()["access_token"]) == {"active": False}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request|invalid_grant"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_request|invalid_grant"),
        ({"code_verifier": "v" * 129}, "invalid_request|invalid_grant"),
        ({"code_verifier": CHALLENGE}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"redirect_uri": "https://app.example/cb2"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_request|invalid_grant"),
        ({"code": "x"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
    ],
)
def test_o21_a_code_is_bound(
    services: Services, browser: Browser, changes: dict[str, str | None], error: str
) -> None:
    """To its verifier, its client and its address."""
    answer = redeem(services, browser.code(), **changes)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert re.fullmatch(error, answer.json()["error"]), answer.text


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example/cb/../x",
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://app.example:8443/cb",
        "https://app.example.evil.example/cb",
        "https://user@app.example/cb",
        "https://evil.example/cb",
        "http://app.example/cb",
        "HTTPS://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost/cb",
        "javascript:alert(1)",
        "//app.example/cb",
        "",
    ],
)
def test_o21_other_addresses_are_not_sent_to(browser: Browser, redirect_uri: str) -> None:
    """An error page, no redirect."""
    answer = browser.open(redirect_uri=redirect_uri)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert "Location" not in answer.headers
    assert "text/html" in answer.headers["Content-Type"]


def test_o21_a_loopback_client_chooses_its_port(services: Services, browser: Browser) -> None:
    """RFC 8252 section 7.3: the port may vary, and nothing else."""
    uri = "http://127.0.0.1:49152/cb"

    answer = redeem(services, browser.code(redirect_uri=uri), redirect_uri=uri)

    assert answer.status_code == httpx2.codes.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"response_type": "token"},
        {"response_type": None},
        {"scope": "api"},
        {"scope": "a  b"},
    ],
)
def test_o21_what_else_is_wrong_goes_back_to_the_client(
    browser: Browser, changes: dict[str, str | None]
) -> None:
    """With error, state and iss, to the registered address only."""
    answer = browser.open(**changes)

    assert answer.status_code == httpx2.codes.SEE_OTHER
    location = urlsplit(answer.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT_URIS[0]
    query = parse_qs(location.query)
    assert query["error"][0] in {
        "invalid_request",
        "unsupported_response_type",
        "invalid_scope",
    }
    assert query["state"] == ["s"]


def test_o21_another_sites_form_is_refused(services: Services, browser: Browser) -> None:
    """Without our cookie or from another origin nobody agrees to anything."""
    page = browser.open()
    form = {"username": "alice", "password": PASSWORD, "decision": "approve"}

    foreign = services.http.post(
        "/authorize", data=form, headers={"Origin": "https://evil.example"}
    )
    without = services.http.post("/authorize", data=form, headers={"Origin": services.url})

    assert page.headers["Content-Security-Policy"].find("frame-ancestors 'none'") >= 0
    assert foreign.status_code == without.status_code == httpx2.codes.FORBIDDEN


def device(services: Services) -> dict[str, Any]:
    """Begin."""
    answer = services.http.post("/device_authorization", data={"client_id": "device"})
    assert answer.status_code == httpx2.codes.OK, answer.text
    return dict(answer.json())


def poll(services: Services, device_code: str, client_id: str = "device") -> httpx2.Response:
    """Ask whether the user has decided."""
    data = {"grant_type": DEVICE, "client_id": client_id, "device_code": device_code}
    return services.http.post("/token", data=data)


def test_o22_a_device_waits_and_is_slowed_down(services: Services) -> None:
    """Who asks too fast is told so."""
    codes = device(services)

    refused(poll(services, codes["device_code"]), 400, "authorization_pending")
    refused(poll(services, codes["device_code"]), 400, "slow_down")


def test_o22_guessed_codes_lead_nowhere(services: Services) -> None:
    """Of devices and of users."""
    refused(poll(services, "x" * 43), 400, "invalid_grant")

    for guess in ("BBBB-BBBB", "'; DROP TABLE users; --", "x" * 1000, "<script>"):
        answer = services.http.get("/device", params={"user_code": guess})
        assert answer.status_code in {200, 400, 404}
        assert "<script>" not in answer.text


def test_o22_another_client_cannot_take_the_token(services: Services) -> None:
    """The code is bound to who asked for it."""
    codes = device(services)

    answer = poll(services, codes["device_code"], client_id="app")

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert answer.json()["error"] in {"unauthorized_client", "invalid_grant"}
