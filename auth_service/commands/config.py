"""``config``: what the settings are, and whether a start would succeed with them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

import uvloop

from auth_service.commands.output import json_option, show_list
from auth_service.commands.parsers import Parsers
from auth_service.diagnosis import Finding, diagnose
from auth_service.exceptions import ConfigurationError
from auth_service.settings import PREFIX, SECRETS, Settings

EXIT_WRONG = 2


def add_to(commands: Parsers) -> None:
    """Describe the commands."""
    config = commands.add_parser("config", help="look at the settings").add_subparsers(
        required=True
    )
    as_json = [json_option()]
    check = config.add_parser(
        "check", help="look for what would stop a start (2: something)", parents=as_json
    )
    check.set_defaults(run=_check)
    shown = config.add_parser("show", help="list all settings, secrets hidden", parents=as_json)
    shown.set_defaults(run=_show)


def _check(options: argparse.Namespace) -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except ConfigurationError as error:
        subject, _, text = str(error).partition(": ")
        findings = [Finding(subject, "wrong", text)]
    else:
        findings = uvloop.run(_collect(settings))
    show_list(
        options,
        ["verdict", "subject", "text"],
        [{"verdict": one.verdict, "subject": one.subject, "text": one.text} for one in findings],
    )
    return EXIT_WRONG if any(one.verdict == "wrong" for one in findings) else 0


async def _collect(settings: Settings) -> list[Finding]:
    return [finding async for finding in diagnose(settings)]


def _show(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    show_list(
        options,
        ["variable", "value", "from"],
        [_row(settings, name, os.environ) for name in Settings.model_fields],
    )
    return 0


def _row(settings: Settings, name: str, environ: Mapping[str, str]) -> dict[str, object]:
    variable = PREFIX + name.upper()
    value = getattr(settings, name)
    if environ.get(f"{variable}_FILE") and name in SECRETS:
        source = "file"
    else:
        source = "environment" if environ.get(variable) else "default"
    if name in SECRETS and source != "default":
        shown = "(hidden)"
    elif isinstance(value, tuple):
        shown = ",".join(map(str, value))
    else:
        shown = str(value)
    return {"variable": variable, "value": shown, "from": source}
