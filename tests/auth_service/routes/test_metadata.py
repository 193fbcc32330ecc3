"""Discovery."""

from __future__ import annotations

import httpx2
import pytest
from jose import jwt

from auth_service.app import Service


async def test_the_key_set_verifies_a_token(service: Service, http: httpx2.AsyncClient) -> None:
    """A gateway that knows nothing but the address can check a signature."""
    token = service.tokens.mint(
        sub="u", name="n", client_id="c", scopes=["connect"], now=service.clock()
    ).text

    answer = await http.get("/.well-known/jwks.json")

    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert "Pragma" not in answer.headers
    (key,) = answer.json()["keys"]
    assert key["kid"] == jwt.get_unverified_header(token)["kid"]
    assert jwt.decode(token, key, algorithms=["ES256"], audience="drawbridge")["sub"] == "u"
    assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_an_unchanged_key_set_is_not_sent_again(http: httpx2.AsyncClient, form: str) -> None:
    """RFC 9110 section 13.1.2."""
    etag = (await http.get("/.well-known/jwks.json")).headers["ETag"]

    answer = await http.get("/.well-known/jwks.json", headers={"If-None-Match": form.format(etag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == etag
    other = await http.get("/.well-known/jwks.json", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_metadata_lists_what_exists(http: httpx2.AsyncClient) -> None:
    """RFC 8414 section 2, and no endpoint that is not there."""
    answer = await http.get("/.well-known/oauth-authorization-server")

    assert answer.json() == {
        "issuer": "https://localhost:8443",
        "token_endpoint": "https://localhost:8443/token",
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
        ],
        "jwks_uri": "https://localhost:8443/.well-known/jwks.json",
        "grant_types_supported": ["password"],
        "response_types_supported": [],
        "scopes_supported": ["connect"],
    }
