"""Discovery."""

from __future__ import annotations

import httpx2
import pytest
from jose import jwt

from auth_service.app import Service, create_app, open_service
from auth_service.passwords import HashParameters
from auth_service.registration import ClientChange
from auth_service.settings import Settings


async def test_the_key_set_verifies_a_token(service: Service, http: httpx2.AsyncClient) -> None:
    """A gateway that knows nothing but the address can check a signature."""
    token = service.tokens.mint(
        sub="u", client_id="c", scopes=["connect"], sid="s", now=service.clock()
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

    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.json() == {
        "issuer": "https://localhost:8443",
        "authorization_endpoint": "https://localhost:8443/authorize",
        "token_endpoint": "https://localhost:8443/token",
        "device_authorization_endpoint": "https://localhost:8443/device_authorization",
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
            "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
        "revocation_endpoint": "https://localhost:8443/revoke",
        "revocation_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
            "private_key_jwt",
        ],
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
        "introspection_endpoint": "https://localhost:8443/introspect",
        "introspection_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ],
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
        "jwks_uri": "https://localhost:8443/.well-known/jwks.json",
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "password",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "scopes_supported": ["connect"],
    }


async def test_the_password_grant_is_named_where_a_client_has_it(
    service: Service, http: httpx2.AsyncClient
) -> None:
    """RFC 9700 section 2.4 forbids it; nobody is to come upon it by looking around."""
    await service.registration.change("chat", ClientChange(grants=["refresh_token"]))

    answer = await http.get("/.well-known/oauth-authorization-server")

    assert "password" not in answer.json()["grant_types_supported"]


async def test_an_issuer_with_a_path_has_it_after_the_well_known_one(settings: Settings) -> None:
    """RFC 8414 section 3.1; and a forged Host changes nothing (O26)."""
    settings = settings.model_copy(update={"issuer": "https://a.example/tenant"})
    cheap = HashParameters(memory_kib=8, passes=1, lanes=1)
    async with open_service(settings, hash_parameters=cheap) as service:
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="https://x") as http:
            answer = await http.get(
                "/.well-known/oauth-authorization-server/tenant",
                headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
            )

    assert answer.json()["issuer"] == "https://a.example/tenant"
    assert answer.json()["token_endpoint"] == "https://a.example/tenant/token"
    assert "evil" not in answer.text
