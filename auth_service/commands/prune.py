"""``prune``: what nobody needs any more is deleted now, not when a serving process gets to it."""

from __future__ import annotations

import argparse

from auth_service.app import Service
from auth_service.commands.orders import order
from auth_service.commands.output import json_option, show
from auth_service.commands.parsers import Parsers


def add_to(commands: Parsers) -> None:
    """Describe the command."""
    prune = commands.add_parser(
        "prune",
        help="delete what nobody needs any more, and print how much",
        parents=[json_option()],
    )
    prune.set_defaults(run=order(_prune))


async def _prune(service: Service, options: argparse.Namespace) -> None:
    show(options, dict(await service.housekeeping.once()))
