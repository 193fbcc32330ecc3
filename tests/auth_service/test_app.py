"""The composition root."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from auth_service import logs
from auth_service.app import (
    Service,
    create_app,
    create_app_from_environment,
    create_internal_app,
    open_service,
)
from auth_service.clients import hash_secret
from auth_service.exceptions import (
    AccountError,
    ConfigurationError,
)
from auth_service.passwords import HashParameters
from auth_service.settings import Settings
from auth_service.store import migration, users
from auth_service.store.tables import REVISION
from tests.auth_service.conftest import Login
from tests.databases import BOTH_DATABASES
from tests.postgres_server import PostgresServer

CHEAP = HashParameters(memory_kib=8, passes=1, lanes=1)


def _changed(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


async def test_an_unknown_path_is_a_json_404(http: httpx2.AsyncClient) -> None:
    """Also what the framework usually serves, and a slash too many."""
    for path in ("/", "/redoc", "/token/", "/metrics", "/health/live", "/%00"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "not_found"}), path


async def test_the_public_application_has_no_probes_and_the_internal_one_no_tokens(
    service: Service,
) -> None:
    """Two listeners, two allow-lists."""
    transport = httpx2.ASGITransport(create_internal_app(service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://internal") as http:
        assert (await http.get("/health/ready")).status_code == 200
        for path in ("/token", "/users/me", "/openapi.json", "/docs"):
            assert (await http.get(path)).status_code == 404


async def test_openapi_documents_form_and_refusals(http: httpx2.AsyncClient) -> None:
    """The form is parsed by hand, so the document is checked by hand; 422 never occurs."""
    document = (await http.get("/openapi.json")).json()

    token = document["paths"]["/token"]["post"]
    form = token["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert form["required"] == ["grant_type"]
    assert {"username", "password", "scope", "client_id", "client_secret"} <= form[
        "properties"
    ].keys()
    assert {"200", "400", "401", "413", "503"} <= token["responses"].keys()
    assert document["paths"]["/users/me"]["get"]["security"] == [{"OAuth2": []}]
    assert '"422"' not in json.dumps(document)


async def test_a_second_start_keeps_users_and_keys(settings: Settings, password: str) -> None:
    """Tokens and logins survive."""
    async with open_service(settings, hash_parameters=CHEAP) as first:
        user = await first.accounts.add("alice", password)
        kid = first.keys.at(0).signing.kid
    async with open_service(settings, hash_parameters=CHEAP) as second:
        assert second.keys.at(0).signing.kid == kid
        async with second.database.read() as connection:
            assert await users.by_id(connection, user.id) == user


async def test_production_refuses_demo_users(settings: Settings, password: str) -> None:
    """Their passwords were printed; neither a stored one nor a new one is let in."""
    production = _changed(settings, environment="production")
    async with open_service(settings, hash_parameters=CHEAP):
        pass  # which makes the tables
    async with open_service(production, hash_parameters=CHEAP) as service:
        with pytest.raises(AccountError):
            await service.accounts.add("alice", password, demo=True)
    async with open_service(settings, hash_parameters=CHEAP) as service:
        await service.accounts.add("alice", password, demo=True)

    with pytest.raises(ConfigurationError, match=r"^AUTH_ENVIRONMENT: production refuses"):
        async with open_service(production, hash_parameters=CHEAP):
            pass


async def test_a_default_client_with_a_secret_stops_the_start(settings: Settings) -> None:
    """A request that names no client cannot prove one."""
    async with open_service(settings, hash_parameters=CHEAP) as service:
        await service.registration.add(
            "bot", secret_hash=hash_secret("s"), grants=frozenset({"password"}), scope="connect"
        )

    with pytest.raises(ConfigurationError, match=r"^AUTH_DEFAULT_CLIENT: "):
        async with open_service(_changed(settings, default_client="bot"), hash_parameters=CHEAP):
            pass


async def test_a_database_that_cannot_be_opened_stops_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    """One line with the variable and the cause."""
    (tmp_path / "file").write_text("")
    broken = _changed(settings, database_url=f"sqlite+aiosqlite:///{tmp_path}/file/auth.db")

    with pytest.raises(ConfigurationError, match=r"^AUTH_DATABASE_URL: cannot open") as caught:
        async with open_service(broken, hash_parameters=CHEAP):
            pass
    assert len(str(caught.value).splitlines()) == 1


async def test_a_factory_serves_other_asgi_servers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lifespan opens and closes the service."""
    monkeypatch.setattr(logs, "configure", lambda: None)
    for variable in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AUTH_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("AUTH_KEYS_DIR", str(settings.keys_dir))
    app = create_app_from_environment()
    transport = httpx2.ASGITransport(app)

    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://auth") as http,
    ):
        answer = await http.post("/token", data={"grant_type": "password"})

    assert answer.json()["error"] == "invalid_client"
    assert isinstance(app, FastAPI)


async def test_the_issuer_is_never_the_host_header(http: httpx2.AsyncClient) -> None:
    """RFC 8414 section 3.3: a forged Host changes nothing."""
    answer = await http.get(
        "/.well-known/oauth-authorization-server",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )

    assert "evil" not in answer.text


def test_building_an_application_needs_no_open_database(settings: Settings) -> None:
    """So that a factory can build it before there is an event loop."""
    service = Service(settings, hash_parameters=CHEAP)

    assert create_app(service).title
    assert not service.started
    service.hasher.close()


async def test_the_address_of_a_client_comes_from_a_trusted_proxy(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """And from nobody else: what the client wrote stands further left."""
    behind = _changed(settings, trusted_proxies=("127.0.0.0/8",))
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.1"}
    for chosen in (behind, settings):
        async with open_service(chosen, hash_parameters=CHEAP) as service:
            transport = httpx2.ASGITransport(create_app(service))
            async with httpx2.AsyncClient(transport=transport, base_url="https://x") as http:
                with caplog.at_level(logging.INFO):
                    await http.post("/token", data={"grant_type": "none"}, headers=forwarded)

    refused = [record for record in caplog.records if record.getMessage() == "token_refused"]
    assert [record.__dict__["address"] for record in refused] == ["203.0.113.1", "127.0.0.1"]


async def test_the_start_tells_of_the_password_grant(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """If a client has it: RFC 9700 section 2.4 forbids it."""
    for default_client, told in (("", 0), ("chat", 1)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            chosen = _changed(settings, default_client=default_client)
            async with open_service(chosen, hash_parameters=CHEAP):
                pass
        messages = [record.getMessage() for record in caplog.records]
        assert messages.count("password_grant_enabled") == told


async def _empty_postgres(settings: Settings, postgres: PostgresServer) -> Settings:
    name = postgres.create(tables=False)
    return _changed(settings, database_url=postgres.url(name))


async def test_tables_are_not_made_on_the_way(settings: Settings, postgres: PostgresServer) -> None:
    """On PostgreSQL, and in production, that is an order of its own."""
    refused = [
        await _empty_postgres(settings, postgres),
        _changed(settings, environment="production"),
    ]

    for changed in refused:
        with pytest.raises(ConfigurationError) as caught:
            async with open_service(changed, hash_parameters=CHEAP):
                pass
        assert str(caught.value).startswith("AUTH_DATABASE_URL: the database has no tables")
        assert "python -m auth_service migrate" in str(caught.value)


async def test_what_a_later_version_added_does_not_stop_the_start(settings: Settings) -> None:
    """The old version's pods live on beside the new one's tables."""
    async with (
        open_service(settings, hash_parameters=CHEAP) as service,
        service.database.write() as connection,
    ):
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :later"), {"later": f"{REVISION[:2]}99"}
        )

    async with open_service(settings, hash_parameters=CHEAP) as service:
        assert (await migration.status(service.database)).newer


async def test_another_generation_of_tables_stops_the_start(settings: Settings) -> None:
    """Also where an older one would be brought up to date."""
    async with (
        open_service(settings, hash_parameters=CHEAP) as service,
        service.database.write() as connection,
    ):
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigurationError, match=r"^AUTH_DATABASE_URL: .*9999"):
        async with open_service(settings, hash_parameters=CHEAP):
            pass


async def test_old_rows_are_pruned_while_serving(service: Service) -> None:
    """The task runs from the start to the end."""
    assert service.housekeeping._task is not None

    await service.close()

    assert service.housekeeping._task is None


@BOTH_DATABASES
async def test_the_service_works_on_both_databases(login: Login) -> None:
    """From the form to the token."""
    answer = await login()

    assert answer.status_code == 200


async def test_it_recovers_from_a_killed_database(settings: Settings, password: str) -> None:
    """503 and not ready while it is away, alive all the time; then fine without a restart."""
    server = PostgresServer({"fsync": "on"})
    try:
        server.start()
        changed = _changed(settings, database_url=server.url(server.create()))
        async with open_service(changed, hash_parameters=CHEAP) as service:
            await service.accounts.add("alice", password)
            form = {"grant_type": "password", "username": "alice", "password": password}
            public = httpx2.ASGITransport(create_app(service))
            internal = httpx2.ASGITransport(create_internal_app(service))
            async with (
                httpx2.AsyncClient(transport=public, base_url="https://localhost") as http,
                httpx2.AsyncClient(transport=internal, base_url="http://localhost") as probes,
            ):
                assert (await http.post("/token", data=form)).status_code == 200

                server.kill()

                away = await http.post("/token", data=form)
                assert away.status_code == 503
                assert away.headers["retry-after"] == "5"
                assert (await probes.get("/health/ready")).status_code == 503
                assert (await probes.get("/health/live")).status_code == 200

                server.start()

                assert (await probes.get("/health/ready")).status_code == 200
                assert (await http.post("/token", data=form)).status_code == 200
    finally:
        server.remove()
