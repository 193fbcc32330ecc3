"""The command line: reads the arguments and hands them to a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from auth_service.commands import (
    audit,
    clients,
    config,
    keys,
    migrate,
    prune,
    serve,
    sessions,
    tokens,
    users,
)
from auth_service.exceptions import AccountError, ConfigurationError, RequestError

EXIT_REFUSED = 1
EXIT_CONFIGURATION = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; those of the process unless given.

    Returns:
        0; 1 if an order was refused; 2 if a setting or an argument is wrong; 3 if the database has
        not the tables that `migrate --check` asks for. Each is explained by one line on standard
        error.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigurationError as error:
        return _fail(str(error), EXIT_CONFIGURATION)
    except AccountError as error:
        return _fail(str(error), EXIT_REFUSED)
    except RequestError as error:
        return _fail(error.description, EXIT_REFUSED)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auth_service",
        description="Drawbridge's authorization server; settings are AUTH_* variables.",
    )
    commands = parser.add_subparsers(required=True)
    for noun in (serve, migrate, prune, users, clients, sessions, tokens, keys, audit, config):
        noun.add_to(commands)
    return parser


def _fail(line: str, status: int) -> int:
    sys.stderr.write(line + "\n")
    return status
