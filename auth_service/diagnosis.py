"""What a start would stumble over, found by looking; nothing is made and nothing is changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redis.exceptions import RedisError
from sqlalchemy import make_url

from auth_service import private_files
from auth_service.app import explain, open_database
from auth_service.exceptions import ConfigurationError, SchemaError, StoreUnavailable
from auth_service.keys import read_files
from auth_service.redis_address import connect
from auth_service.revocation_publisher import STREAM
from auth_service.rotation import sealed_as
from auth_service.sealing import FILE_NAME, VARIABLE as SEALING, SecretKeys, parse_keys
from auth_service.settings import Settings
from auth_service.store import migration, signing_keys, users
from auth_service.store.database import Database

Verdict = Literal["ok", "note", "wrong"]
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: The variable it is about.
        verdict: ``wrong`` stops a start, or the log-ins after it.
        text: One line, without secrets.
    """

    subject: str
    verdict: Verdict
    text: str


async def diagnose(settings: Settings) -> AsyncIterator[Finding]:
    """Look at everything that the settings name, in the order in which a start needs it."""
    yield Finding("AUTH_ENVIRONMENT", "ok", f"{settings.environment}; all settings can be read")
    secrets, finding = _sealing(settings)
    yield finding
    yield _key_files(settings)
    async for finding in _database(settings, secrets):
        yield finding
    yield await _revocations(settings)


def _sealing(settings: Settings) -> tuple[SecretKeys | None, Finding]:
    path = settings.keys_dir / FILE_NAME
    try:
        if settings.sealing_keys:
            keys = parse_keys(settings.sealing_keys)
            return SecretKeys(keys), Finding(SEALING, "ok", f"{len(keys)} of 32 bytes")
        if path.exists():
            text = private_files.read(path, variable=SEALING).decode("ascii").strip()
            return SecretKeys(parse_keys(text)), Finding(SEALING, "ok", f"not set; {path}")
    except ConfigurationError as error:
        return None, Finding(SEALING, "wrong", _said(error))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "holds no key"
        return None, Finding(SEALING, "wrong", f"not set, and {path}: {reason}")
    if settings.environment == "production":
        return None, Finding(SEALING, "wrong", "not set; production makes no key by itself")
    return None, Finding(SEALING, "note", f"not set; the first start makes {path}")


def _key_files(settings: Settings) -> Finding:
    subject = "AUTH_KEYS_DIR"
    directory = settings.keys_dir
    needed = settings.keys_source == "files"
    if not directory.is_dir():
        if needed:
            return Finding(subject, "wrong", f"{directory} is no directory")
        return Finding(subject, "ok", f"{directory} is not there, and need not be")
    try:
        found = read_files(directory)
    except ConfigurationError as error:
        return Finding(subject, "wrong", _said(error))
    if needed:
        return Finding(subject, "ok", f"{len(found)} signing keys in {directory}")
    return Finding(subject, "ok", f"{directory}; signing keys are in the database")


async def _database(settings: Settings, secrets: SecretKeys | None) -> AsyncIterator[Finding]:
    subject = "AUTH_DATABASE_URL"
    production = settings.environment == "production"
    sqlite = settings.database_url.startswith("sqlite")
    if sqlite and not await asyncio.to_thread(_file_exists, settings.database_url):
        # Connecting would make the file.
        told = "there is no file yet; "
        if production:
            yield Finding(subject, "wrong", told + "run: python -m auth_service migrate")
        else:
            yield Finding(subject, "note", told + "the first start makes it")
        return
    database = open_database(settings)
    try:
        async with asyncio.timeout(_SECONDS):
            found = await migration.status(database)
            if found.suits:
                yield Finding(subject, "ok", str(found))
                yield await _signing_keys(database, settings, secrets)
                yield await _demo_users(database, production=production)
            else:
                yield Finding(subject, "wrong", str(found))
    except (StoreUnavailable, SchemaError) as error:
        yield Finding(subject, "wrong", _said(explain(error)))
    except TimeoutError:
        yield Finding(subject, "wrong", "no answer in time")
    finally:
        await database.close()
    if production and sqlite:
        yield Finding(subject, "note", "SQLite is for one machine; several need PostgreSQL")


async def _signing_keys(
    database: Database, settings: Settings, secrets: SecretKeys | None
) -> Finding:
    subject = "AUTH_KEYS_SOURCE"
    if settings.keys_source == "files":
        return Finding(subject, "ok", "files")
    async with database.read() as connection:
        rows = await signing_keys.every(connection)
    if not rows:
        return Finding(subject, "note", "no signing keys yet; the first start makes one")
    if secrets is None:
        return Finding(subject, "wrong", "there are signing keys, and no key that opens them")
    try:
        for row in rows:
            secrets.open(row.sealed, sealed_as(row.kid))
    except ConfigurationError as error:
        return Finding(subject, "wrong", str(error))
    old = sum(not secrets.sealed_by_first(row.sealed) for row in rows)
    if old:
        return Finding(
            subject, "note", f"{old} of {len(rows)} under an older sealing key: keys reseal"
        )
    return Finding(subject, "ok", f"{len(rows)} signing keys open")


async def _demo_users(database: Database, *, production: bool) -> Finding:
    subject = "AUTH_ENVIRONMENT"
    async with database.read() as connection:
        found = await users.any_demo(connection)
    if not found:
        return Finding(subject, "ok", "no demo users")
    return Finding(subject, "wrong" if production else "note", "the database holds demo users")


async def _revocations(settings: Settings) -> Finding:
    subject = "AUTH_REDIS_URL"
    if not settings.redis_url:
        if settings.revocations_key:
            return Finding(subject, "ok", "none; gateways read revocations at /revocations")
        return Finding(
            subject, "note", "none, nor AUTH_REVOCATIONS_KEY: gateways hear of no revocation"
        )
    redis = connect(settings.redis_url, STREAM)
    # Its own retries tell nobody anything new.
    logging.getLogger("redis").setLevel(logging.CRITICAL)
    try:
        await redis.xrevrange(STREAM, count=1)
    except (RedisError, OSError, TimeoutError) as error:
        # The kind only: the text may hold the address, and with it a password.
        return Finding(
            subject, "wrong", f"Redis refuses or does not answer: {type(error).__name__}"
        )
    finally:
        await redis.aclose()
    return Finding(subject, "ok", "Redis answers")


def _file_exists(url: str) -> bool:
    return Path(make_url(url).database or "").exists()


def _said(error: ConfigurationError) -> str:
    """Return what is wrong, without the variable, which is shown beside it."""
    _, _, text = str(error).partition(": ")
    return text
