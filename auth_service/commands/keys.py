"""``keys``: what tokens are signed with."""

from __future__ import annotations

import argparse
from pathlib import Path

from auth_service import private_files
from auth_service.app import Service
from auth_service.commands.orders import order
from auth_service.commands.output import json_option, moment, show, show_list
from auth_service.commands.parsers import Parsers
from auth_service.exceptions import KeyRefused
from auth_service.store.signing_keys import StoredKey


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    keys = commands.add_parser("keys", help="manage signing keys").add_subparsers(required=True)
    as_json = [json_option()]

    listed = keys.add_parser("list", help="list keys and their states", parents=as_json)
    listed.set_defaults(run=order(_list))

    rotate = keys.add_parser(
        "rotate", aliases=["add"], help="make the next key, which signs soon", parents=as_json
    )
    rotate.add_argument(
        "--now",
        action="store_true",
        help="sign with it, or with the pending one, at once: gateways that have just fetched the"
        " key set may refuse its tokens for ten seconds",
    )
    rotate.set_defaults(run=order(_rotate))

    imported = keys.add_parser(
        "import", help="take a private key in PEM as the next one", parents=as_json
    )
    imported.add_argument("file", type=Path, metavar="FILE", help="readable by its owner only")
    imported.set_defaults(run=order(_import))

    revoke = keys.add_parser(
        "revoke", help="withdraw a key at once: tokens that it signed are refused"
    )
    revoke.add_argument("kid")
    revoke.set_defaults(run=order(_revoke))

    reseal = keys.add_parser(
        "reseal", help="seal all with the first of AUTH_SEALING_KEYS", parents=as_json
    )
    reseal.set_defaults(run=order(_reseal))


async def _list(service: Service, options: argparse.Namespace) -> None:
    show_list(
        options,
        ["kid", "algorithm", "state", "activates", "removes"],
        [{**_fields(key), "state": state} for key, state in await service.rotation.states()],
    )


async def _rotate(service: Service, options: argparse.Namespace) -> None:
    show(options, _fields(await service.rotation.rotate(at_once=options.now)))


async def _import(service: Service, options: argparse.Namespace) -> None:
    try:
        pem = private_files.read(options.file, variable="keys import")
    except OSError as error:
        raise KeyRefused(f"{options.file}: {error.strerror}") from None
    show(options, _fields(await service.rotation.rotate(pem=pem)))


async def _revoke(service: Service, options: argparse.Namespace) -> None:
    await service.rotation.revoke(options.kid)


async def _reseal(service: Service, options: argparse.Namespace) -> None:
    show(options, {"resealed": await service.rotation.reseal()})


def _fields(key: StoredKey) -> dict[str, object]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "created": moment(key.created_at),
        "activates": moment(key.activates_at),
        "removes": moment(key.removes_at),
        "revoked": moment(key.revoked_at),
    }
