"""The tables' revision: what a database has, and how it gets what this version needs.

Migrations are in ``auth_service/migrations``, and only go forward. Within a generation (the first
two digits of a revision) they only add, so an earlier version of the service works with what a
later one made: its pods may start again in the middle of a rollout, and a rollout may be taken
back. A revision that takes something away begins a generation; behind it only a backup leads.

All that are missing are one transaction: done whole or not at all. Whoever comes second waits for
the first one, and finds nothing left to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from auth_service.exceptions import SchemaError
from auth_service.store.database import Database
from auth_service.store.tables import REVISION

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_VERSION_TABLE = "alembic_version"
_VERSION = text("SELECT version_num FROM alembic_version")
# Of version 0.1.0, which made its tables without a word about their revision.
_FIRST = "0001"
_TABLES_OF_FIRST = {"users", "clients"}
_GENERATION_DIGITS = 2
# Any number that others are unlikely to lock in this database.
_ADVISORY_LOCK = 7_403_266_151_214


@dataclass(frozen=True, slots=True)
class Status:
    """What a database has.

    Attributes:
        revision: Of its tables; empty if there are none.
    """

    revision: str

    @property
    def current(self) -> bool:
        """Whether it is what this version needs."""
        return self.revision == REVISION

    @property
    def newer(self) -> bool:
        """Whether a later version made it."""
        return self.revision > REVISION

    @property
    def suits(self) -> bool:
        """Whether this version works with it: its own, or a later one of the same generation."""
        generation = REVISION[:_GENERATION_DIGITS]
        return self.current or (self.newer and self.revision.startswith(generation))

    @override
    def __str__(self) -> str:
        found = f"revision {self.revision}" if self.revision else "no tables"
        if self.current:
            return f"the database has {found}, which is what this version needs"
        if self.suits:
            return f"the database has {found}, which has all of {REVISION} that this version needs"
        if self.newer:
            return f"the database has {found}, this version knows up to {REVISION}"
        return f"the database has {found}, this version needs revision {REVISION}"


async def status(database: Database) -> Status:
    """Look at a database and change nothing.

    Raises:
        SchemaError: Its tables are none of ours.
        StoreUnavailable: It does not answer.
    """
    async with database.read() as connection:
        return await connection.run_sync(_status)


async def upgrade(database: Database) -> Status:
    """Bring a database to this version's revision, if it has not more; may be repeated at will.

    Returns:
        What it had before.

    Raises:
        SchemaError: Its tables are none of ours, or of a later generation.
        StoreUnavailable: It does not answer, or refuses; nothing was changed.
    """
    async with database.write(patient=True) as connection:
        # SQLite has its one lock for writing by now.
        await _lock(connection)
        before = await connection.run_sync(_status)
        if before.newer and not before.suits:
            raise SchemaError(str(before))
        if not before.suits:
            await connection.run_sync(_apply, before)
        return before


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(select(text(f"pg_advisory_xact_lock({_ADVISORY_LOCK})")))


def _status(connection: Connection) -> Status:
    tables = set(inspect(connection).get_table_names())
    if _VERSION_TABLE in tables:
        found = connection.execute(_VERSION).scalars()
        return Status("".join(found))
    if not tables:
        return Status("")
    if tables == _TABLES_OF_FIRST:
        return Status(_FIRST)
    raise SchemaError("the database has tables of something else")


def _apply(connection: Connection, before: Status) -> None:
    # A second of imports that a serving process has no use for.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if before.revision == _FIRST and not inspect(connection).has_table(_VERSION_TABLE):
        command.stamp(config, _FIRST)
    command.upgrade(config, REVISION)
