"""Pruning: what is gone, what stays, and that no table is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Table, func, insert, select, text

from auth_service.store import prune as pruning
from auth_service.store.database import Database
from auth_service.store.prune import BOUNDED, RULES, Retention, prune
from auth_service.store.tables import (
    ATTEMPTS,
    AUDIT_EVENTS,
    AUTHORIZATION_CODES,
    CLIENT_ASSERTIONS,
    CLIENTS,
    DEVICE_AUTHORIZATIONS,
    METADATA,
    REVOCATIONS,
    SESSIONS,
    SIGNING_KEYS,
    USERS,
)

NOW = 1_900_000_000
DAY = 86_400
RETENTION = Retention(audit_days=90, session_days=30)
_LATE = NOW + DAY

_SESSION = {
    "user_id": "u",
    "client_id": "c",
    "kind": "password",
    "scope": "connect",
    "auth_time": 1,
    "created_at": 1,
    "used_at": 1,
    "generation": 0,
    "idle_expires_at": _LATE,
    "expires_at": _LATE,
    "address": "",
    "user_agent": "",
}
_CODE = {
    "client_id": "c",
    "user_id": "u",
    "redirect_uri": "",
    "challenge": "",
    "scope": "",
    "auth_time": 1,
}
_DEVICE = {"client_id": "c", "scope": "", "state": "pending", "interval": 5, "created_at": 1}
_KEY = {
    "algorithm": "ES256",
    "sealed": b"",
    "public_jwk": "",
    "created_at": 1,
    "activates_at": 1,
}
_REVOCATION = {"kind": "sid", "value": "s", "sub": "", "before": 0, "reason": "", "created_at": 1}
_EVENT = {
    "event": "login",
    "outcome": "success",
    "actor": "",
    "subject": "",
    "client_id": "",
    "address": "",
    "request_id": "",
    "reason": "",
}
# Per table: rows that stay, and rows that go.
CASES: dict[Table, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    SESSIONS: (
        [
            {**_SESSION, "id": "lives"},
            {**_SESSION, "id": "has ended lately", "ended_at": NOW - 29 * DAY},
            {**_SESSION, "id": "has expired lately", "expires_at": NOW - 29 * DAY},
        ],
        [
            {**_SESSION, "id": "ended", "ended_at": NOW - 30 * DAY},
            {**_SESSION, "id": "expired", "expires_at": NOW - 30 * DAY},
            {**_SESSION, "id": "idle", "idle_expires_at": NOW - 30 * DAY},
        ],
    ),
    AUTHORIZATION_CODES: (
        [{**_CODE, "code_hash": "a", "expires_at": NOW - 3599}],
        [{**_CODE, "code_hash": "b", "expires_at": NOW - 3600}],
    ),
    DEVICE_AUTHORIZATIONS: (
        [{**_DEVICE, "code_hash": "a", "user_code": "A", "expires_at": NOW - 3599}],
        [{**_DEVICE, "code_hash": "b", "user_code": "B", "expires_at": NOW - 3600}],
    ),
    CLIENT_ASSERTIONS: (
        [{"client_id": "c", "jti_hash": "a", "expires_at": NOW - 299}],
        [{"client_id": "c", "jti_hash": "b", "expires_at": NOW - 300}],
    ),
    ATTEMPTS: (
        [{"key": "a", "arrival": 0.5, "failures": 1, "locked_until": 0, "expires_at": NOW + 1}],
        [{"key": "b", "arrival": 0.5, "failures": 1, "locked_until": 0, "expires_at": NOW}],
    ),
    REVOCATIONS: (
        [{**_REVOCATION, "seq": 2, "until": NOW - 299}],
        [{**_REVOCATION, "seq": 1, "until": NOW - 300}],
    ),
    SIGNING_KEYS: (
        [
            {**_KEY, "kid": "signs"},
            {**_KEY, "kid": "was removed lately", "removes_at": NOW - DAY + 1},
        ],
        [
            {**_KEY, "kid": "removed", "removes_at": NOW - DAY},
            {**_KEY, "kid": "revoked", "revoked_at": NOW - 30 * DAY},
        ],
    ),
    AUDIT_EVENTS: (
        [{**_EVENT, "at": NOW - 90 * DAY + 1}],
        [{**_EVENT, "at": NOW - 90 * DAY}],
    ),
}


async def _fill(database: Database, table: Table, rows: list[dict[str, Any]]) -> None:
    async with database.write() as connection:
        for row in rows:
            await connection.execute(insert(table).values(row))


async def _count(database: Database, table: Table) -> int:
    async with database.read() as connection:
        counted = await connection.execute(select(func.count()).select_from(table))
    return int(counted.scalar_one())


@pytest.fixture
async def filled(database: Database) -> Database:
    """A database with a user and a client."""
    user = {
        "id": "u",
        "username": "u",
        "username_key": "u",
        "password_hash": "",
        "scope": "",
        "disabled": False,
        "demo": False,
        "created_at": 1,
    }
    client = {"client_id": "c", "grants": "", "scope": "", "disabled": False, "created_at": 1}
    await _fill(database, USERS, [user])
    await _fill(database, CLIENTS, [client])
    return database


def test_every_table_has_a_rule_or_a_bound() -> None:
    """Whoever adds a table says what keeps it from growing, and tests it."""
    assert set(RULES) | set(BOUNDED) == set(METADATA.tables.values())
    assert not set(RULES) & set(BOUNDED)
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("table", CASES, ids=lambda table: table.name)
async def test_what_nobody_needs_goes_and_the_rest_stays(filled: Database, table: Table) -> None:
    """To the second."""
    stays, goes = CASES[table]
    await _fill(filled, table, [*stays, *goes])

    deleted = await prune(filled, now=NOW, retention=RETENTION)

    assert deleted[table.name] == len(goes)
    key = list(table.primary_key.columns)
    async with filled.read() as connection:
        left = {tuple(row) for row in await connection.execute(select(*key))}
    if table is AUDIT_EVENTS:
        assert len(left) == len(stays)
    else:
        assert left == {tuple(row[column.name] for column in key) for row in stays}


async def test_a_session_outlives_its_last_access_token(filled: Database) -> None:
    """Also where ended ones are not kept for people to look at."""
    await _fill(
        filled,
        SESSIONS,
        [
            {**_SESSION, "id": "ended an hour ago", "ended_at": NOW - 3600},
            {**_SESSION, "id": "ended just now", "ended_at": NOW - 3599},
        ],
    )

    await prune(filled, now=NOW, retention=Retention(session_days=0))

    assert await _count(filled, SESSIONS) == 1


async def test_much_is_deleted_in_batches(filled: Database) -> None:
    """All of it, with others in between."""
    rows = [{**_EVENT, "at": 1} for _ in range(25)]
    await _fill(filled, AUDIT_EVENTS, rows)

    deleted = await prune(filled, now=NOW, retention=RETENTION, batch=10)

    assert deleted["audit_events"] == 25
    assert await _count(filled, AUDIT_EVENTS) == 0


async def test_several_at_once_delete_everything_once(filled: Database, database_url: str) -> None:
    """Workers that come at the same moment."""
    await _fill(filled, AUDIT_EVENTS, [{**_EVENT, "at": 1} for _ in range(200)])
    others = [Database(database_url) for _ in range(3)]

    found = await asyncio.gather(
        *(prune(other, now=NOW, retention=RETENTION, batch=10) for other in (filled, *others))
    )

    assert sum(deleted.get("audit_events", 0) for deleted in found) == 200
    assert await _count(filled, AUDIT_EVENTS) == 0
    for other in others:
        await other.close()


async def test_one_process_at_a_time_on_postgresql(
    filled: Database, database_url: str, database_kind: str
) -> None:
    """Whoever finds another one at it does nothing; SQLite has one writer anyway."""
    await _fill(filled, AUDIT_EVENTS, [{**_EVENT, "at": 1}])
    other = Database(database_url)
    if database_kind == "postgresql":
        async with other.write() as connection:
            lock = f"SELECT pg_advisory_xact_lock({pruning._ADVISORY_LOCK})"
            await connection.execute(text(lock))

            assert sum((await prune(filled, now=NOW, retention=RETENTION)).values()) == 0

    assert (await prune(filled, now=NOW, retention=RETENTION))["audit_events"] == 1
    await other.close()
