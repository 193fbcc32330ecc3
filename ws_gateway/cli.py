"""``python -m ws_gateway connections …``: what the internal API knows, on a terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import httpx2

from ws_gateway.exceptions import ConfigurationError

_TIMEOUT_SECONDS = 10.0
_FAILED = 1


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--url", help="the internal port; GATEWAY_INTERNAL_BIND's, else http://127.0.0.1:9011"
    )
    shared.add_argument("--json", action="store_true", help="print what the API answers")
    top = argparse.ArgumentParser(
        prog="python -m ws_gateway",
        description="One gateway process, configured by the environment; or, with a command, "
        "questions to one that runs. They need its GATEWAY_API_KEY in the environment.",
    )
    commands = top.add_subparsers(dest="command", metavar="connections", required=True)
    connections = commands.add_parser("connections", help="who is connected, and who was")
    verbs = connections.add_subparsers(dest="verb", required=True)

    listing = verbs.add_parser("list", parents=[shared], help="list connections by their ids")
    listing.add_argument("--user", help="whose; empty for those who have not said")
    listing.add_argument("--after", default="", metavar="ID", help="begin after this one")
    listing.add_argument("--limit", type=int, default=100, help="how many at most (100)")

    show = verbs.add_parser("show", parents=[shared], help="say all about one connection")
    show.add_argument("client", help="its id")

    closes = verbs.add_parser("closes", parents=[shared], help="list connections that ended last")
    closes.add_argument("--user", help="whose")
    closes.add_argument("--code", type=int, default=0, help="with this close code")
    closes.add_argument("--limit", type=int, default=100, help="how many at most (100)")
    return top


def main(
    arguments: Sequence[str],
    *,
    url: str,
    environment: Mapping[str, str] = os.environ,
    out: TextIO | None = None,
) -> int:
    """Ask, and print the answer; returns the exit status.

    Args:
        arguments: Of the command line.
        url: The internal port, unless they name another.
        environment: Has the key.
        out: Where to print; stdout if None.

    Raises:
        ConfigurationError: There is no key.
    """
    asked = parser().parse_args(arguments)
    key = _key(environment)
    to = out or sys.stdout
    try:
        answer = _get(asked.url or url, _path(asked), key)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        sys.stderr.write(f"{asked.url or url}: {type(error).__name__}\n")
        return _FAILED
    if answer.status_code != httpx2.codes.OK:
        sys.stderr.write(f"{answer.status_code}: {_detail(answer)}\n")
        return _FAILED
    found: dict[str, Any] = answer.json()
    if asked.json or asked.verb == "show":
        to.write(json.dumps(found, indent=2, ensure_ascii=True) + "\n")
        return 0
    rows = _connections(found) if asked.verb == "list" else _closes(found)
    to.write("".join(f"{line}\n" for line in rows))
    if not found["complete"]:
        sys.stderr.write("some gateways have not answered\n")
    return 0


def _key(environment: Mapping[str, str]) -> str:
    key, file = environment.get("GATEWAY_API_KEY"), environment.get("GATEWAY_API_KEY_FILE")
    if not key and file:
        try:
            key = Path(file).read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError("GATEWAY_API_KEY_FILE: cannot read the file") from None
    if not key:
        raise ConfigurationError("GATEWAY_API_KEY: the gateway's, needed to ask it")
    return key


def _path(asked: argparse.Namespace) -> str:
    if asked.verb == "show":
        return f"/api/connections/{quote(asked.client, safe='')}"
    query = {"limit": str(asked.limit)}
    if asked.user is not None:
        query["user"] = asked.user
    if asked.verb == "list":
        return f"/api/connections?{httpx2.QueryParams({**query, 'after': asked.after})}"
    return f"/api/closes?{httpx2.QueryParams({**query, 'code': str(asked.code)})}"


def _get(url: str, path: str, key: str) -> httpx2.Response:
    # No proxy of the environment: the key is for the gateway alone.
    with httpx2.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        return client.get(url.rstrip("/") + path, headers={"X-API-Key": key})


def _detail(answer: httpx2.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return _plain(detail if isinstance(detail, str) else "the question is not understood")


def _connections(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['client']}  {_time(one['since'])}  {_plain(one['address']) or '-':15}  "
        f"{one['codec']:8}  {one['channels']:4} channels  {_plain(one['user']) or '-'}"
        for one in found["connections"]
    ]
    return [*lines, f"more: --after {found['next']}"] if found["next"] else lines


def _closes(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{_time(one['at'])}  {one['client']}  {one['code']}  {_plain(one['user']) or '-'}  "
        f"after {one['lasted']:.1f} s  {_plain(one['reason'] or '-')}"
        + (f" ({_plain(one['detail'])})" if one["detail"] else "")
        for one in found["closes"]
    ]
    counts = ", ".join(f"{code}: {count}" for code, count in sorted(found["by_code"].items()))
    return [*lines, counts] if counts else lines


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _plain(text: str) -> str:
    """Write what others have chosen so that a terminal takes it for nothing but text."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])
