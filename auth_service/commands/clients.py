"""``clients``: which programs may ask for tokens."""

from __future__ import annotations

import argparse
from pathlib import Path

from auth_service.app import Service
from auth_service.clients import hash_secret, new_secret
from auth_service.commands.orders import Order, order
from auth_service.commands.output import json_option, moment, show, show_list, write_lines
from auth_service.commands.parsers import Parsers
from auth_service.exceptions import AccountError, NoSuchAccount
from auth_service.models import Client
from auth_service.registration import ClientChange

DAY_SECONDS = 86_400


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    clients = commands.add_parser("clients", help="manage clients").add_subparsers(required=True)
    as_json = [json_option()]

    add = clients.add_parser("add", help="register a client", parents=as_json)
    add.add_argument("id")
    add.add_argument("--scope", default="connect", help="words separated by blanks")
    add.add_argument("--grant", action="append", default=[], help="may be repeated")
    add.add_argument("--name", default="", help="what users are shown")
    add.add_argument("--redirect-uri", action="append", default=[], help="may be repeated")
    proof = add.add_mutually_exclusive_group()
    proof.add_argument("--secret", action="store_true", help="make a secret and print it once")
    proof.add_argument("--jwks", type=Path, metavar="FILE", help="its public keys")
    add.set_defaults(run=order(_add))

    listed = clients.add_parser("list", help="list all clients", parents=as_json)
    listed.set_defaults(run=order(_list))

    change = clients.add_parser(
        "change", help="change what is given; tokens that are out live on", parents=as_json
    )
    change.add_argument("id")
    change.add_argument("--scope", help="words separated by blanks")
    change.add_argument("--grant", action="append", help="these instead of all there were")
    change.add_argument("--name", help="what users are shown")
    change.add_argument("--redirect-uri", action="append", help="these instead of all there were")
    change.add_argument("--no-redirect-uris", action="store_true", help="none at all")
    change.add_argument("--jwks", type=Path, metavar="FILE", help="its public keys")
    change.set_defaults(run=order(_change))

    rotate = clients.add_parser(
        "rotate-secret", help="make a new secret and print it once", parents=as_json
    )
    rotate.add_argument("id")
    rotate.add_argument(
        "--overlap",
        type=int,
        default=DAY_SECONDS,
        metavar="SECONDS",
        help="how long the present one counts beside it (86400; 0: it ends now)",
    )
    rotate.set_defaults(run=order(_rotate_secret))

    def one(command: str, text: str, run: Order) -> None:
        parser = clients.add_parser(command, help=text, parents=as_json)
        parser.add_argument("id")
        parser.set_defaults(run=order(run))

    one("show", "show a client", _show)
    one("disable", "refuse a client, end its sessions, revoke its tokens", _disable)
    one("enable", "accept a client again; what was revoked stays so", _enable)
    one("revoke-tokens", "end its sessions and revoke its tokens", _revoke_tokens)


async def _add(service: Service, options: argparse.Namespace) -> None:
    secret = new_secret() if options.secret else None
    client = await service.registration.add(
        options.id,
        grants=frozenset(options.grant),
        scope=options.scope,
        secret_hash=hash_secret(secret) if secret else None,
        jwks=_read(options.jwks) if options.jwks else None,
        name=options.name,
        redirect_uris=options.redirect_uri,
    )
    _show_secret(options, client.id, secret)


async def _list(service: Service, options: argparse.Namespace) -> None:
    found = await service.registration.all()
    show_list(options, ["id", "proof", "grants", "scope", "state"], map(_fields, found))


async def _show(service: Service, options: argparse.Namespace) -> None:
    client = await service.registration.find(options.id)
    if client is None:
        raise NoSuchAccount("there is no such client")
    show(options, _fields(client))


async def _change(service: Service, options: argparse.Namespace) -> None:
    change = ClientChange(
        name=options.name,
        grants=options.grant,
        scope=options.scope,
        redirect_uris=() if options.no_redirect_uris else options.redirect_uri,
        jwks=_read(options.jwks) if options.jwks else None,
    )
    show(options, _fields(await service.registration.change(options.id, change)))


async def _rotate_secret(service: Service, options: argparse.Namespace) -> None:
    secret = await service.registration.rotate_secret(options.id, overlap_seconds=options.overlap)
    _show_secret(options, options.id, secret)


async def _disable(service: Service, options: argparse.Namespace) -> None:
    await service.administration.disable_client(options.id)


async def _enable(service: Service, options: argparse.Namespace) -> None:
    await service.administration.enable_client(options.id)


async def _revoke_tokens(service: Service, options: argparse.Namespace) -> None:
    await service.administration.revoke_client(options.id)


def _show_secret(options: argparse.Namespace, client_id: str, secret: str | None) -> None:
    """Print a secret, which nobody can show again."""
    if options.json:
        show(options, {"id": client_id, **({"secret": secret} if secret else {})})
    elif secret:
        write_lines(secret)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise AccountError(f"{path}: {reason}") from None


def _fields(client: Client) -> dict[str, object]:
    if client.jwks is not None:
        proof = "keys"
    else:
        proof = "none" if client.secret_hash is None else "secret"
    return {
        "id": client.id,
        "name": client.name,
        "proof": proof,
        "grants": sorted(client.grants),
        "scope": " ".join(sorted(client.scopes)),
        "redirect_uris": list(client.redirect_uris),
        "state": "disabled" if client.disabled else "enabled",
        "previous_secret_until": moment(client.previous_secret_until),
        "created": moment(client.created_at),
        "tokens_after": moment(client.tokens_after or None),
    }
