"""``tokens``: what one says, what it is worth, and the end of it; read from the input always."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from auth_service.app import Service
from auth_service.commands.orders import order
from auth_service.commands.output import json_option, moment, show
from auth_service.commands.parsers import Parsers
from auth_service.commands.typed import read_token

_TIMES = frozenset({"exp", "iat", "nbf", "auth_time"})


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    tokens = commands.add_parser(
        "tokens", help="look at a token from the input, or revoke it"
    ).add_subparsers(required=True)
    as_json = [json_option()]
    inspect = tokens.add_parser(
        "inspect", help="what an access token says, good or not", parents=as_json
    )
    inspect.set_defaults(run=order(_inspect))
    introspect = tokens.add_parser(
        "introspect", help="what /introspect would answer", parents=as_json
    )
    introspect.set_defaults(run=order(_introspect))
    revoke = tokens.add_parser(
        "revoke", help="revoke an access token, or a refresh token with its session"
    )
    revoke.set_defaults(run=order(_revoke))


async def _inspect(service: Service, options: argparse.Namespace) -> None:
    inspected = service.tokens.inspect(read_token(), now=service.clock())
    said = {**inspected.header, **inspected.claims}
    show(options, {**_plain(said, options), "verdict": inspected.refusal or "good"})


async def _introspect(service: Service, options: argparse.Namespace) -> None:
    show(options, _plain(await service.introspection.describe(read_token()), options))


async def _revoke(service: Service, _options: argparse.Namespace) -> None:
    await service.revocation.revoke_for_operator(read_token())


def _plain(members: Mapping[str, object], options: argparse.Namespace) -> dict[str, object]:
    """Return what is shown: programs get numbers as they are, people get times."""
    return {
        name: moment(value) if type(value) is int and name in _TIMES and not options.json else value
        for name, value in members.items()
    }
