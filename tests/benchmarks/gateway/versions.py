"""Which versions were measured."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from infra.stack import programs

_PEERS = Path(__file__).parent / "peer_programs"
_LOCK = Path("requirements/bench.txt")
_OWN = ("uvicorn", "uvloop", "httptools", "hiredis")
_LOCKED = ("fastapi", "websockets", "broadcaster", "python-socketio", "channels")
#: Each prints its version on its first line.
_COMMANDS = {"gcc": "--version", "node": "--version", "redis-server": "--version", "nginx": "-v"}


def versions() -> str:
    """Say it in one line."""
    found = [f"Linux {platform.release().partition('-')[0]}"]
    found += [f"{name} {_printed(name, option)}" for name, option in _COMMANDS.items()]
    found += [f"{name} {metadata.version(name)}" for name in _OWN]
    lock = _LOCK.read_text("utf-8")
    for name in _LOCKED:
        match = re.search(rf"^{re.escape(name)}==(\S+)", lock, re.MULTILINE)
        found.append(f"{name} {match[1] if match else '?'}")
    wanted = json.loads((_PEERS / "package.json").read_text("utf-8"))["dependencies"]
    return ", ".join(found + [f"{name} {version}" for name, version in wanted.items()])


def _printed(program: str, option: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words only
        [programs.find(program), option], capture_output=True, text=True, check=True
    )
    match = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return match[0] if match else "?"
