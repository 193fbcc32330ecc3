"""What a check finds, and that looking changes nothing."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth_service.app import Service, open_service
from auth_service.diagnosis import Finding, diagnose
from auth_service.keys import new_pem
from auth_service.passwords import HashParameters
from auth_service.settings import Settings
from auth_service.store import migration
from auth_service.store.database import Database
from tests.redis_server import RedisServer

CHEAP = HashParameters(memory_kib=8, passes=1, lanes=1)


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _with(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


async def _find(settings: Settings, subject: str) -> list[Finding]:
    return [finding async for finding in diagnose(settings) if finding.subject == subject]


@pytest.fixture
async def started(settings: Settings) -> AsyncIterator[Service]:
    """A service that has started once; its database and keys are there."""
    async with open_service(settings, hash_parameters=CHEAP) as service:
        yield service


def test_looking_makes_nothing(settings: Settings, tmp_path: Path) -> None:
    """No file, no key, no table; a fresh directory is nothing wrong."""

    async def look() -> list[Finding]:
        return [finding async for finding in diagnose(settings)]

    found = asyncio.run(look())

    assert list(tmp_path.iterdir()) == []
    assert {finding.verdict for finding in found} <= {"ok", "note"}


@pytest.mark.usefixtures("started")
async def test_a_good_start_leaves_nothing_wrong(settings: Settings) -> None:
    """Keys open, tables are current."""
    found = [finding async for finding in diagnose(settings)]

    assert [finding for finding in found if finding.verdict == "wrong"] == []
    assert Finding("AUTH_KEYS_SOURCE", "ok", "1 signing keys open") in found


@pytest.mark.usefixtures("started")
async def test_another_sealing_key_is_wrong(settings: Settings) -> None:
    """And two at once ask for a resealing."""
    (wrong,) = await _find(_with(settings, sealing_keys=_key()), "AUTH_KEYS_SOURCE")
    old = (settings.keys_dir / "sealing.key").read_text().strip()
    (note,) = await _find(_with(settings, sealing_keys=f"{_key()},{old}"), "AUTH_KEYS_SOURCE")

    assert wrong.verdict == "wrong"
    assert (note.verdict, note.text) == ("note", "1 of 1 under an older sealing key: keys reseal")


@pytest.mark.parametrize("content", ["", "no key", None])
async def test_a_sealing_key_that_cannot_be_read_is_wrong(
    settings: Settings, content: str | None
) -> None:
    """Open to others, or not a key."""
    settings.keys_dir.mkdir()
    path = settings.keys_dir / "sealing.key"
    path.write_text(_key() if content is None else content)
    path.chmod(0o644 if content is None else 0o600)

    (finding,) = await _find(settings, "AUTH_SEALING_KEYS")

    assert finding.verdict == "wrong"


async def test_production_wants_what_development_makes(settings: Settings) -> None:
    """A sealing key and tables."""
    production = _with(settings, environment="production", default_client="")

    (sealing,) = await _find(production, "AUTH_SEALING_KEYS")
    (database,) = await _find(production, "AUTH_DATABASE_URL")

    assert (sealing.verdict, database.verdict) == ("wrong", "wrong")
    assert "auth_service migrate" in database.text


async def test_demo_users_are_wrong_in_production_only(
    settings: Settings, started: Service, password: str
) -> None:
    """Their passwords were shown around."""
    await started.accounts.add("alice", password, demo=True)

    development = await _find(settings, "AUTH_ENVIRONMENT")
    production = await _find(_with(settings, environment="production"), "AUTH_ENVIRONMENT")

    assert development[-1].verdict == "note"
    assert production[-1].verdict == "wrong"


async def test_old_tables_are_wrong(settings: Settings) -> None:
    """An empty database has none."""
    database = Database(settings.database_url)
    await database.open()
    await database.close()

    (finding,) = await _find(settings, "AUTH_DATABASE_URL")

    assert finding.verdict == "wrong"
    assert "needs revision" in finding.text


async def test_a_database_that_is_away_is_wrong(settings: Settings) -> None:
    """Told without the password."""
    url = "postgresql+asyncpg://u:hunter2@127.0.0.1:1/x"

    (finding,) = await _find(_with(settings, database_url=url), "AUTH_DATABASE_URL")

    assert finding.verdict == "wrong"
    assert "hunter2" not in finding.text


async def test_sqlite_in_production_is_a_note(settings: Settings) -> None:
    """One machine may be all somebody has."""
    database = Database(settings.database_url)
    await database.open()
    await migration.upgrade(database)
    await database.close()

    found = await _find(_with(settings, environment="production"), "AUTH_DATABASE_URL")

    assert [finding.verdict for finding in found] == ["ok", "note"]


async def test_key_files_are_read(settings: Settings) -> None:
    """Where they are what signs, they must be there and closed to others."""
    files = _with(settings, keys_source="files")
    assert [one.verdict for one in await _find(files, "AUTH_KEYS_DIR")] == ["wrong"]

    settings.keys_dir.mkdir()
    path = settings.keys_dir / "signing-es256.pem"
    path.write_bytes(new_pem("ES256"))
    path.chmod(0o644)
    assert [one.verdict for one in await _find(files, "AUTH_KEYS_DIR")] == ["wrong"]
    path.chmod(0o600)
    assert [one.verdict for one in await _find(files, "AUTH_KEYS_DIR")] == ["ok"]


async def test_redis_is_asked(settings: Settings, tmp_path: Path) -> None:
    """With what the publisher needs."""
    server = RedisServer(tmp_path).start()
    try:
        (there,) = await _find(_with(settings, redis_url=server.url), "AUTH_REDIS_URL")
    finally:
        server.kill()
    (away,) = await _find(
        _with(settings, redis_url=f"redis://:hunter2@127.0.0.1:{server.port}"), "AUTH_REDIS_URL"
    )

    assert there.verdict == "ok"
    assert away.verdict == "wrong"
    assert "hunter2" not in away.text


@pytest.mark.parametrize(("key", "verdict"), [("", "note"), ("k" * 32, "ok")])
async def test_gateways_must_hear_of_revocations_somehow(
    settings: Settings, key: str, verdict: str
) -> None:
    """By Redis or by asking."""
    (finding,) = await _find(_with(settings, revocations_key=key), "AUTH_REDIS_URL")

    assert finding.verdict == verdict
