"""The environment and its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from auth_service.exceptions import ConfigurationError
from auth_service.settings import SECRETS, Address, Settings


def test_nothing_set_is_a_development_server_on_loopback() -> None:
    """The defaults need nothing and listen to nobody outside."""
    settings = Settings.from_environment({})

    assert settings.bind == (Address("127.0.0.1", 8001),)
    assert settings.internal_bind == (Address("127.0.0.1", 9001),)
    assert settings.issuer == "https://localhost:8443"
    assert settings.access_token_seconds == 600
    assert settings.signing_algorithm == "ES256"
    assert settings.default_client == ""
    assert settings.hash_threads >= 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH_ACCESS_TOKEN_SECONDS", "abc"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "59"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "3601"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "6e2"),
        ("AUTH_ACCESS_TOKEN_SECONDS", "٦٠٠"),
        ("AUTH_BIND", "127.0.0.1"),
        ("AUTH_BIND", "127.0.0.1:65536"),
        ("AUTH_BIND", "127.0.0.1:8001,"),
        ("AUTH_INTERNAL_BIND", ":9001"),
        ("AUTH_ISSUER", "localhost"),
        ("AUTH_ISSUER", "ftp://localhost"),
        ("AUTH_ISSUER", "https://localhost/"),
        ("AUTH_ISSUER", "https://localhost?x"),
        ("AUTH_ISSUER", "https://localhost#x"),
        ("AUTH_ISSUER", "https://a b"),
        ("AUTH_ISSUER", "https://user@host"),
        ("AUTH_ISSUER", "https://host:port"),
        ("AUTH_ISSUER", "https://[::1"),
        ("AUTH_AUDIENCE", "a b"),
        ("AUTH_SIGNING_ALGORITHM", "HS256"),
        ("AUTH_SIGNING_ALGORITHM", "es256"),
        ("AUTH_DEFAULT_CLIENT", "a client"),
        ("AUTH_ORIGINS", "*"),
        ("AUTH_ORIGINS", "null"),
        ("AUTH_ORIGINS", "https://chat.example/"),
        ("AUTH_ORIGINS", "https://Chat.example"),
        ("AUTH_ORIGINS", "https://chat.example:443"),
        ("AUTH_ORIGINS", "https://chat.example,"),
        ("AUTH_ENVIRONMENT", "staging"),
        ("AUTH_HASH_THREADS", "0"),
        ("AUTH_HASH_QUEUE", "-1"),
        ("AUTH_HASH_WAIT_SECONDS", "nan"),
        ("AUTH_HASH_WAIT_SECONDS", "soon\nnow"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_variable_and_value(variable: str, value: str) -> None:
    """A wrong deployment stops at its start with a sentence."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({variable: value})

    line = str(caught.value)
    assert line.startswith(f"{variable}: must be ")
    assert line.endswith(f", not {value!r}")
    assert len(line.splitlines()) == 1


@given(st.text(max_size=60))
def test_any_token_lifetime_is_accepted_or_refused_in_one_line(value: str) -> None:
    """No text in the environment ends in a traceback."""
    line = ""
    try:
        seconds = Settings.from_environment(
            {"AUTH_ACCESS_TOKEN_SECONDS": value}
        ).access_token_seconds
    except ConfigurationError as error:
        line, seconds = str(error), 60

    assert len(line.splitlines()) <= 1
    assert 60 <= seconds <= 3600


def test_several_listeners_may_be_named() -> None:
    """IPv6 hosts stand in brackets, and are written back so."""
    settings = Settings.from_environment({"AUTH_BIND": "127.0.0.1:1, [::1]:2,auth.local:3"})

    assert [str(address) for address in settings.bind] == ["127.0.0.1:1", "[::1]:2", "auth.local:3"]


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://auth.example", "https://auth.example"),
        ("https://auth.example/realm", "https://auth.example"),
        ("https://Auth.example:443", "https://auth.example"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_the_issuers_own_pages_may_log_in(issuer: str, origin: str) -> None:
    """Its origin as a browser writes it, unless others are named."""
    assert Settings.from_environment({"AUTH_ISSUER": issuer}).allowed_origins == {origin}

    given = {"AUTH_ISSUER": issuer, "AUTH_ORIGINS": "https://a.example, http://[::1]:8000"}
    assert Settings.from_environment(given).allowed_origins == {
        "https://a.example",
        "http://[::1]:8000",
    }


def test_a_secret_is_not_shown() -> None:
    """The database's address may hold a password."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_DATABASE_URL: ") as caught:
        Settings.from_environment({"AUTH_DATABASE_URL": "mysql://root:hunter2@db/x"})

    assert "hunter2" not in str(caught.value)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """The `_FILE` variant, without the line end that editors add."""
    file = tmp_path / "url"
    file.write_text("sqlite+aiosqlite:///somewhere/auth.db\n")

    settings = Settings.from_environment({"AUTH_DATABASE_URL_FILE": str(file)})

    assert settings.database_url == "sqlite+aiosqlite:///somewhere/auth.db"


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """The line names the variable."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_DATABASE_URL_FILE: cannot read"):
        Settings.from_environment({"AUTH_DATABASE_URL_FILE": str(tmp_path / "none")})


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    """Nobody should have to know which of the two wins."""
    with pytest.raises(ConfigurationError, match="not both"):
        Settings.from_environment(
            {"AUTH_DATABASE_URL": "x", "AUTH_DATABASE_URL_FILE": str(tmp_path)}
        )


def test_an_empty_value_is_none() -> None:
    """`AUTH_X=` in a compose file means the default."""
    assert Settings.from_environment({"AUTH_ACCESS_TOKEN_SECONDS": ""}).access_token_seconds == 600


def test_production_wants_https() -> None:
    """Tokens of a plain-text issuer travel in plain text."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_ISSUER: must be an https URL"):
        Settings.from_environment(
            {"AUTH_ENVIRONMENT": "production", "AUTH_ISSUER": "http://auth.example"}
        )


def test_an_unknown_variable_stops_the_start() -> None:
    """A misspelt setting must not silently be its default."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_ISUER: unknown setting$"):
        Settings.from_environment({"AUTH_ISUER": "x"})


def test_what_kubernetes_injects_for_a_service_is_no_setting() -> None:
    """Every pod gets the addresses of the Services called auth and auth-service."""
    settings = Settings.from_environment(
        {
            "AUTH_SERVICE_HOST": "10.0.0.1",
            "AUTH_SERVICE_PORT_HTTP": "8080",
            "AUTH_PORT": "tcp://10.0.0.1:8080",
            "AUTH_PORT_8080_TCP_ADDR": "10.0.0.1",
            "PATH": "/bin",
        }
    )

    assert settings == Settings()


@pytest.mark.parametrize("value", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "*", "10.0.0.1,"])
def test_trusted_proxies_are_addresses_or_networks(value: str) -> None:
    """A name could be anybody's tomorrow, and ``*`` is everybody."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_TRUSTED_PROXIES: must be IP addresses"):
        Settings.from_environment({"AUTH_TRUSTED_PROXIES": value})


def test_trusted_proxies_are_a_list() -> None:
    """Addresses and networks of both families."""
    settings = Settings.from_environment({"AUTH_TRUSTED_PROXIES": "10.0.0.0/8, ::1"})

    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://auth:p%40ss@db.example:5432/drawbridge",
        "postgresql+asyncpg://auth@[::1]/drawbridge",
        "sqlite+aiosqlite:////var/lib/auth.db",
    ],
)
def test_database_addresses(url: str) -> None:
    """SQLite for one process on one machine, PostgreSQL for all else."""
    assert Settings.from_environment({"AUTH_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://auth:hunter2@db/x",
        "postgresql+psycopg://auth:hunter2@db/x",
        "postgresql+asyncpg://auth:hunter2@db",
        "postgresql+asyncpg://auth:hunter2@/x",
        "postgresql+asyncpg://:hunter2@db/x",
        "postgresql+asyncpg://auth:hunter2@db/x?ssl=disable",
        "postgresql+asyncpg://auth:hunter2@db:port/x",
        "postgresql+asyncpg://auth:hunter2@[db/x",
        "postgresql+asyncpg://auth:hunter 2@db/x",
    ],
)
def test_wrong_database_addresses_are_refused_without_the_password(url: str) -> None:
    """What is wrong with it is not shown, for nobody knows where the password is in it."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_DATABASE_URL: must be ") as caught:
        Settings.from_environment({"AUTH_DATABASE_URL": url})

    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AUTH_DEFAULT_CLIENT", "chat", "must be empty in production"),
        ("AUTH_ORIGINS", "https://a.example,http://b.example", "must be https origins"),
        ("AUTH_REVOCATIONS_KEY", "dev-only-" + "k" * 32, "takes no secret"),
        ("AUTH_REDIS_URL", "redis://:dev-only-x@redis:6379", "takes no secret"),
        ("AUTH_DATABASE_URL", "postgresql+asyncpg://u:dev-only-x@db/auth", "takes no secret"),
    ],
)
def test_production_refuses_what_is_for_a_demonstration(
    variable: str, value: str, words: str
) -> None:
    """Which development takes; the line shows no secret."""
    environ = {"AUTH_ISSUER": "https://auth.example", variable: value}
    assert Settings.from_environment(environ).environment == "development"

    with pytest.raises(ConfigurationError, match=f"^{variable}: .*{words}") as refused:
        Settings.from_environment({**environ, "AUTH_ENVIRONMENT": "production"})

    assert "dev-only-x" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    """And anything whose name or kind says secret is among them."""
    value = {
        "database_url": "sqlite+aiosqlite:///x.db",
        "sealing_keys": "A" * 43,
        "redis_url": "redis://:pw@redis:6379/0",
        "revocations_key": "k" * 32,
    }[name]
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")

    settings = Settings.from_environment({f"AUTH_{name.upper()}_FILE": str(file)})

    assert getattr(settings, name) == value
