"""What may be chosen for the stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import auth_service.exceptions
import ws_gateway.exceptions
from infra.stack import postgresql
from infra.stack.exceptions import StackError
from infra.stack.settings import MAX_GATEWAYS, MAX_OFFSET, Ports, read


def test_the_ports_are_those_of_the_design() -> None:
    """Where everybody expects them."""
    settings = read({})

    ports = settings.ports
    assert (ports.tls, ports.plain, ports.auth, ports.auth_internal) == (8443, 8000, 8001, 9001)
    assert (ports.redis, ports.postgresql, ports.prometheus) == (6390, 5490, 9190)
    assert (ports.gateway(1), ports.gateway_internal(1)) == (8011, 9011)
    assert settings.gateways == 2
    assert settings.limited


def test_no_two_ports_meet() -> None:
    """Whatever the number of gateways."""
    ports = Ports(MAX_OFFSET)
    numbers = range(1, MAX_GATEWAYS + 1)
    others = (
        *(ports.tls, ports.plain, ports.auth, ports.auth_internal, ports.redis, ports.prometheus),
        *(ports.nginx_exporter, ports.redis_exporter, ports.nginx_status, ports.postgresql),
        *(ports.postgresql_exporter, ports.probe),
    )
    every = [*others, *map(ports.gateway, numbers), *map(ports.gateway_internal, numbers)]

    assert len(set(every)) == len(every)
    assert max(every) < 2**16


def test_the_gateways_trust_the_front_and_meet_in_redis() -> None:
    """Pages of both doors may connect; every token is the front's."""
    settings = read({"DRAWBRIDGE_PORT_OFFSET": "100", "DRAWBRIDGE_LOCAL": "elsewhere"})

    given = settings.gateway_environment
    (issuer,) = json.loads(given["GATEWAY_ISSUERS"])
    assert issuer["issuer"] == "https://localhost:8543" == settings.auth.issuer
    assert issuer["jwks_url"] == "http://127.0.0.1:8101/.well-known/jwks.json"
    assert given["GATEWAY_ORIGINS"] == "https://localhost:8543,http://localhost:8100"
    assert given["GATEWAY_REDIS_URL"] == "redis://127.0.0.1:6490/0"
    assert issuer["revocations"] == "redis"
    assert settings.auth_environment["AUTH_REDIS_URL"] == "redis://127.0.0.1:6490/0"
    assert settings.auth_environment["AUTH_BIND"] == "127.0.0.1:8101"
    assert settings.auth_environment["AUTH_KEYS_DIR"] == "elsewhere/keys"
    assert str(settings.stack.path("x")) == "elsewhere/stack/x"


def test_the_callers_settings_are_passed_on() -> None:
    """Each service gets its own, above the defaults."""
    settings = read(
        {
            "AUTH_ACCESS_TOKEN_SECONDS": "60",
            "GATEWAY_ORIGINS": "https://example.org",
            "GATEWAY_PING_INTERVAL": "9",
            "GATEWAYS": "3",
            "LIMITS": "load",
            "HOME": "/",
        }
    )

    assert settings.auth_environment["AUTH_ACCESS_TOKEN_SECONDS"] == "60"
    assert settings.gateway_environment["GATEWAY_ORIGINS"] == "https://example.org"
    assert settings.gateway.ping_interval == 9
    assert {name.split("_")[0] for name in settings.gateway_environment} == {"GATEWAY"}
    assert {name.split("_")[0] for name in settings.auth_environment} == {"AUTH"}
    assert (settings.gateways, settings.limited) == (3, False)


def test_the_auth_service_has_a_database_of_the_stack(tmp_path: Path) -> None:
    """Its password is read from the file that the first start makes, and is in no variable."""
    environment = {"DRAWBRIDGE_LOCAL": str(tmp_path), "DRAWBRIDGE_PORT_OFFSET": "100"}
    before = read(environment)
    password = postgresql.keep_password(before.postgresql, before.ports.postgresql)
    after = read(environment)

    assert before.own_database
    assert before.auth.database_url == postgresql.url(5590)
    assert after.auth.database_url == postgresql.url(5590, password)
    assert not [text for text in after.auth_environment.values() if password in text]


def test_the_caller_may_bring_another_database(tmp_path: Path) -> None:
    """By address or by file; the stack's own is not started then."""
    url = f"sqlite+aiosqlite:///{tmp_path}/auth.db"
    (tmp_path / "file").write_text(url)

    for given in ({"AUTH_DATABASE_URL": url}, {"AUTH_DATABASE_URL_FILE": f"{tmp_path}/file"}):
        settings = read({"DRAWBRIDGE_LOCAL": str(tmp_path)} | given)
        assert not settings.own_database
        assert settings.auth.database_url == url


def test_a_load_test_lifts_the_limits_of_log_ins() -> None:
    """The caller's count still."""
    auth = read({"LIMITS": "load", "AUTH_LIMIT_ACCOUNT": "7"}).auth

    assert (auth.limit_logins, auth.limit_address, auth.limit_client) == (0, 0, 0)
    assert auth.limit_account == 7
    assert read({}).auth.limit_logins > 0


@pytest.mark.parametrize(
    "environment",
    [
        {"GATEWAYS": "0"},
        {"GATEWAYS": "17"},
        {"GATEWAYS": "two"},
        {"GATEWAYS": "-1"},
        {"LIMITS": "off"},
        {"DRAWBRIDGE_PORT_OFFSET": "60000"},
        {"AUTH_BIND": "127.0.0.1:1"},
        {"AUTH_INTERNAL_BIND": "127.0.0.1:1"},
        {"GATEWAY_BIND": "0.0.0.0:1"},
        {"GATEWAY_INTERNAL_BIND": "127.0.0.1:1"},
        {"DRAWBRIDGE_LOCAL": "a b"},
        {"AUTH_ENVIRONMENT": "production"},
        {"AUTH_NONSENSE": "1"},
        {"GATEWAY_NONSENSE": "1"},
        {"GATEWAY_PING_INTERVAL": "often"},
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str]) -> None:
    """In one line that begins with the variable."""
    with pytest.raises(
        (
            StackError,
            auth_service.exceptions.ConfigurationError,
            ws_gateway.exceptions.ConfigurationError,
        )
    ) as caught:
        read(environment)

    assert str(caught.value).startswith(next(iter(environment)))
    assert "\n" not in str(caught.value)
