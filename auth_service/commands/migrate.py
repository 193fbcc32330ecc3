"""``migrate``: the database's tables."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import uvloop

from auth_service.app import explain, open_database
from auth_service.commands.parsers import Parsers
from auth_service.exceptions import SchemaError, StoreUnavailable
from auth_service.settings import Settings
from auth_service.store import migration
from auth_service.store.tables import REVISION

EXIT_BEHIND = 3


def add_to(commands: Parsers) -> None:
    """Describe the command."""
    migrate = commands.add_parser("migrate", help="bring the database's tables up to date")
    migrate.add_argument("--check", action="store_true", help="only say whether they are (3: no)")
    migrate.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_migrate(settings, check=options.check))


async def _migrate(settings: Settings, *, check: bool) -> int:
    """Bring the tables up to date, or only look."""
    database = open_database(settings)
    try:
        await database.open()
        found = await migration.status(database) if check else await migration.upgrade(database)
    except (StoreUnavailable, SchemaError) as error:
        raise explain(error) from None
    finally:
        await database.close()
    if check and not found.suits:
        sys.stderr.write(f"AUTH_DATABASE_URL: {found}\n")
        return EXIT_BEHIND
    if check or found.suits:
        sys.stdout.write(f"{found}\n")
    else:
        sys.stdout.write(f"the database has revision {REVISION} now\n")
    return 0
