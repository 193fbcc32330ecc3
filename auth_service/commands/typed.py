"""What an operator types that nobody else may see: passwords and tokens, never as arguments.

Arguments are in the shell's history and in everybody's list of processes.
"""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys

from auth_service.exceptions import AccountError

_MAX_TOKEN_CHARACTERS = 16_384


def add_password_options(parser: argparse.ArgumentParser) -> None:
    """Describe where a password comes from; without an option the terminal is asked."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--password-stdin", action="store_true", help="read it from the input")
    source.add_argument("--generate", action="store_true", help="make one and print it once")


def read_password(options: argparse.Namespace) -> str:
    """Read a password, or make one.

    Raises:
        AccountError: There is no terminal to ask, or two answers differ.
    """
    if options.generate:
        return secrets.token_urlsafe(18)
    if options.password_stdin:
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise AccountError("no terminal to ask for a password: use --password-stdin or --generate")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise AccountError("the two passwords differ")
    return password


def read_token() -> str:
    """Read a token from the input, one line.

    Raises:
        AccountError: There is none.
    """
    if sys.stdin.isatty():
        token = getpass.getpass("Token: ").strip()
    else:
        token = sys.stdin.readline(_MAX_TOKEN_CHARACTERS).strip()
    if not token:
        raise AccountError("a token is read from the input, and there was none")
    return token
