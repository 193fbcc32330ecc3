"""``audit``: what happened, by whom and to whom."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

from auth_service.app import Service
from auth_service.commands.orders import order
from auth_service.commands.output import json_option, moment, notice, show_list
from auth_service.commands.parsers import Parsers, rows
from auth_service.store import audit_events

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    nouns = commands.add_parser("audit", help="read the audit").add_subparsers(required=True)
    listed = nouns.add_parser("list", help="list events, the newest last", parents=[json_option()])
    listed.add_argument(
        "--since", type=_since, metavar="WHEN", help="such as 30m, 2h, 7d, or 2030-01-31T12:00:00Z"
    )
    listed.add_argument("--subject", help="only what happened to this sub, sid, client or kid")
    listed.add_argument("--actor", help="only what this sub, or operator, did")
    listed.add_argument("--event", help="only events of this name")
    listed.add_argument("--limit", type=rows, default=200, help="at most so many, the newest (200)")
    listed.set_defaults(run=order(_list))


async def _list(service: Service, options: argparse.Namespace) -> None:
    since = None
    if options.since is not None:
        # Both ways to say it: so long ago, or a moment.
        since = options.since if options.since > 0 else int(service.clock()) + options.since
    async with service.database.read() as connection:
        found = await audit_events.newest(
            connection,
            since=since,
            subject=options.subject,
            actor=options.actor,
            event=options.event,
            limit=options.limit + 1,
        )
    shown = found[-options.limit :]
    show_list(
        options,
        ["at", "event", "outcome", "actor", "subject", "client", "address", "reason"],
        [
            {
                "at": moment(event.at),
                "event": event.event,
                "outcome": event.outcome,
                "actor": event.actor,
                "subject": event.subject,
                "client": event.client_id,
                "address": event.address,
                "request": event.request_id,
                "reason": event.reason,
            }
            for event in shown
        ],
    )
    if len(found) > len(shown):
        notice("there are older ones: raise --limit")


def _since(text: str) -> int:
    """Read a moment as seconds since 1970, or how long ago as a number below zero."""
    if match := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return -int(match[1]) * _UNITS[match[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("no moment, and no length of time") from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
