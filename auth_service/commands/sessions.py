"""``sessions``: who is logged in, from where, and the end of it."""

from __future__ import annotations

import argparse

from auth_service.app import Service
from auth_service.commands.orders import Order, order
from auth_service.commands.output import json_option, moment, show_list
from auth_service.commands.parsers import Parsers
from auth_service.exceptions import NoSuchAccount
from auth_service.models import User

__all__ = ["Order", "add_to", "add_user_argument", "find_user", "list_of_user"]


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    sessions = commands.add_parser("sessions", help="manage sessions").add_subparsers(required=True)
    listed = sessions.add_parser(
        "list", help="list a user's sessions that are not over", parents=[json_option()]
    )
    listed.add_argument("--user", required=True, metavar="NAME")
    listed.add_argument("--id", action="store_true", help="NAME is an id, the sub of tokens")
    listed.set_defaults(run=order(list_of_user))
    end = sessions.add_parser("end", help="end one session and revoke its tokens")
    end.add_argument("sid")
    end.set_defaults(run=order(_end))


def add_user_argument(parser: argparse.ArgumentParser) -> None:
    """Describe how a user is named."""
    parser.add_argument("user", metavar="NAME")
    # No guessing: a name may look like somebody else's id.
    parser.add_argument("--id", action="store_true", help="NAME is an id, the sub of tokens")


async def find_user(service: Service, options: argparse.Namespace) -> User:
    """Return the user an order names.

    Raises:
        NoSuchAccount: There is no such user.
    """
    found = await (
        service.accounts.by_id(options.user)
        if options.id
        else service.accounts.by_name(options.user)
    )
    if found is None:
        raise NoSuchAccount("there is no such user")
    return found


async def list_of_user(service: Service, options: argparse.Namespace) -> None:
    """Show the sessions of the user an order names."""
    user = await find_user(service, options)
    living = await service.account.list_sessions(user.id)
    show_list(
        options,
        ["sid", "client", "began_by", "logged_in", "used", "expires", "address", "user_agent"],
        [
            {
                "sid": session.id,
                "client": session.client_id,
                "began_by": session.kind,
                "scope": session.scope,
                "logged_in": moment(session.auth_time),
                "used": moment(session.used_at),
                "expires": moment(min(session.idle_expires_at, session.expires_at)),
                "address": session.address,
                "user_agent": session.user_agent,
            }
            for session in living
        ],
    )


async def _end(service: Service, options: argparse.Namespace) -> None:
    await service.administration.end_session(options.sid)
