"""``users``: who may log in."""

from __future__ import annotations

import argparse

from auth_service.app import Service
from auth_service.commands import sessions
from auth_service.commands.orders import order
from auth_service.commands.output import json_option, moment, notice, show, show_list, write_lines
from auth_service.commands.parsers import Parsers, rows
from auth_service.commands.typed import add_password_options, read_password
from auth_service.models import User


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    users = commands.add_parser("users", help="manage users").add_subparsers(required=True)
    as_json = [json_option()]

    add = users.add_parser("add", help="create a user and print the id", parents=as_json)
    add.add_argument("name")
    add.add_argument("--scope", default="connect", help="words separated by blanks")
    add.add_argument("--demo", action="store_true", help="a user that production refuses")
    add_password_options(add)
    add.set_defaults(run=order(_add))

    listed = users.add_parser("list", help="list users by name", parents=as_json)
    listed.add_argument("--after", metavar="NAME", default="", help="only those after this one")
    listed.add_argument("--limit", type=rows, default=1000, help="at most so many (1000)")
    listed.set_defaults(run=order(_list))

    def one(command: str, text: str, run: sessions.Order) -> argparse.ArgumentParser:
        parser = users.add_parser(command, help=text, parents=as_json)
        sessions.add_user_argument(parser)
        parser.set_defaults(run=order(run))
        return parser

    one("show", "show a user", _show)
    one("disable", "refuse a user, end all sessions, revoke all tokens", _disable)
    one("enable", "accept a user again; what was revoked stays so", _enable)
    one("logout", "end all sessions and revoke all tokens", _log_out)
    one("sessions", "list a user's sessions", sessions.list_of_user)
    add_password_options(
        one("set-password", "give a new password and log out everywhere", _set_password)
    )
    unlock = users.add_parser("unlock", help="forget an account's failed log-ins", parents=as_json)
    unlock.add_argument("user", metavar="NAME")
    unlock.set_defaults(run=order(_unlock))


async def _add(service: Service, options: argparse.Namespace) -> None:
    password = read_password(options)
    user = await service.accounts.add(
        options.name, password, scope=options.scope, demo=options.demo
    )
    if options.json:
        made: dict[str, object] = {"password": password} if options.generate else {}
        show(options, {"id": user.id, **made})
        return
    lines = [user.id, password] if options.generate else [user.id]
    write_lines(*lines)


async def _list(service: Service, options: argparse.Namespace) -> None:
    found = await service.accounts.list(after=options.after, limit=options.limit + 1)
    shown = found[: options.limit]
    show_list(options, ["name", "id", "scope", "state", "created"], map(_fields, shown))
    if len(found) > len(shown):
        notice("there are more: continue with --after, or raise --limit")


async def _show(service: Service, options: argparse.Namespace) -> None:
    user = await sessions.find_user(service, options)
    living = await service.account.list_sessions(user.id)
    show(options, {**_fields(user), "sessions": len(living)})


async def _disable(service: Service, options: argparse.Namespace) -> None:
    await service.administration.disable_user((await sessions.find_user(service, options)).id)


async def _enable(service: Service, options: argparse.Namespace) -> None:
    await service.administration.enable_user((await sessions.find_user(service, options)).id)


async def _log_out(service: Service, options: argparse.Namespace) -> None:
    await service.administration.log_out_user((await sessions.find_user(service, options)).id)


async def _set_password(service: Service, options: argparse.Namespace) -> None:
    user = await sessions.find_user(service, options)
    password = read_password(options)
    await service.administration.set_password(user.id, password)
    if options.generate and options.json:
        show(options, {"password": password})
    elif options.generate:
        write_lines(password)


async def _unlock(service: Service, options: argparse.Namespace) -> None:
    found = await service.accounts.unlock(options.user)
    if options.json:
        show(options, {"unlocked": found})
    elif not found:
        notice("there were no failed log-ins to forget")


def _fields(user: User) -> dict[str, object]:
    return {
        "name": user.username,
        "id": user.id,
        "scope": " ".join(sorted(user.scopes)),
        "state": "disabled" if user.disabled else "enabled",
        "demo": user.demo,
        "created": moment(user.created_at),
        "tokens_after": moment(user.tokens_after or None),
    }
