"""What pages of other origins may read (T16, O29)."""

from __future__ import annotations

import httpx2
import pytest

OWN = "https://localhost:8443"
FOREIGN = "https://evil.example"
ALLOW = "Access-Control-Allow-Origin"


def _preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method}


@pytest.mark.parametrize("path", ["/token", "/revoke", "/device_authorization"])
async def test_a_listed_page_may_use_the_endpoints(http: httpx2.AsyncClient, path: str) -> None:
    """Never with cookies; its refusals can be read too."""
    before = await http.options(path, headers=_preflight(OWN))
    answer = await http.post(path, data={}, headers={"Origin": OWN})

    assert (before.status_code, before.headers[ALLOW]) == (204, OWN)
    assert before.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers[ALLOW] == OWN
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in before.headers | answer.headers


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", OWN + ".evil.example", "http://localhost:8443"]
)
async def test_a_foreign_page_may_not(http: httpx2.AsyncClient, origin: str) -> None:
    """No header allows it."""
    before = await http.options("/token", headers=_preflight(origin))
    answer = await http.post("/token", data={}, headers={"Origin": origin})

    assert before.status_code == 405
    for one in (before, answer):
        assert not [name for name in one.headers if name.lower().startswith("access-control")]
        assert "Origin" in one.headers["Vary"]


@pytest.mark.parametrize("path", ["/introspect", "/session", "/users/me", "/authorize"])
async def test_what_is_no_pages_business_is_open_to_none(
    http: httpx2.AsyncClient, path: str
) -> None:
    """Introspection is for servers; cookies are for our own page."""
    answer = await http.options(path, headers=_preflight(OWN))

    assert ALLOW not in answer.headers


@pytest.mark.parametrize("name", ["jwks.json", "oauth-authorization-server"])
async def test_keys_and_metadata_are_open_to_all(http: httpx2.AsyncClient, name: str) -> None:
    """They are public, and the same for everybody."""
    answer = await http.get(f"/.well-known/{name}", headers={"Origin": FOREIGN})
    before = await http.options(f"/.well-known/{name}", headers=_preflight(FOREIGN, "GET"))

    assert answer.headers[ALLOW] == before.headers[ALLOW] == "*"
    assert "Vary" not in answer.headers
