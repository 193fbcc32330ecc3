"""What people use instead: little programs after the public descriptions of each.

Python's are in an environment of their own (`requirements/bench.txt`), Node's in `node_modules`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from infra.stack import programs
from infra.stack.exceptions import StackError
from tests.benchmarks.gateway import dialect
from tests.benchmarks.gateway.dialect import Dialect
from tests.benchmarks.gateway.ours import ROOM, Kind, World, redis_server
from tests.benchmarks.gateway.servers import Server, command
from tests.free_ports import free_ports
from tests.integration.npm import install

HERE = Path(__file__).parent / "peer_programs"
ENVIRONMENT = Path(".venv-bench")
CENTRIFUGO = "CENTRIFUGO"
"""The variable with the path of its binary."""

_PLAIN = replace(dialect.PLAIN, echoes=True)


@dataclass(frozen=True, slots=True)
class _Program:
    """One of them.

    Attributes:
        name: As the tables call it.
        words: What runs it; ``{port}`` is where.
        talk: What its clients say.
        redis: Whether it needs one; it is told the address by REDIS_URL.
    """

    name: str
    words: Sequence[str]
    talk: Dialect = _PLAIN
    redis: bool = False


def _uvicorn(module: str) -> list[str]:
    words = ("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
    return [
        *(str(ENVIRONMENT / "bin/python"), "-m", "uvicorn", f"{module}:app"),
        *("--app-dir", str(HERE), "--backlog", "2048", *words),
    ]


def _node(script: str) -> list[str]:
    return ["node", str(HERE / script), "{port}"]


def _programs() -> list[_Program]:
    return [
        _Program("FastAPI, the tutorial's manager", _uvicorn("tutorial")),
        _Program("FastAPI over broadcaster and Redis", _uvicorn("broadcasting"), redis=True),
        _Program("python-socketio", _uvicorn("socketio_python"), dialect.SOCKET_IO),
        _Program("Django Channels on uvicorn, in memory", _uvicorn("django_channels")),
        _Program("node ws", _node("ws.mjs")),
        _Program("Socket.IO", _node("socketio.mjs"), dialect.SOCKET_IO),
    ]


def kinds(world: World) -> list[Kind]:
    """List them; one that cannot be run here says why."""
    try:
        install(HERE)
        no_node = ""
    except (AssertionError, StackError) as error:
        no_node = f"not measured: {str(error).strip().splitlines()[0]}"
    no_python = "" if (ENVIRONMENT / "bin/python").exists() else f"not measured: no {ENVIRONMENT}"
    found = []
    for program in _programs():
        lacks = no_node if program.words[0] == "node" else no_python
        found.append(Kind(program.name, partial(_run, world, program), lacks))
    lacks = "" if os.environ.get(CENTRIFUGO) else f"not measured: ${CENTRIFUGO} names no binary"
    return [*found, Kind("Centrifugo", partial(_centrifugo, world), lacks)]


@contextmanager
def _run(world: World, program: _Program) -> Iterator[Server]:
    (port,) = free_ports(1)
    words = [word.format(port=port) for word in program.words]
    words[0] = programs.find("node") if words[0] == "node" else words[0]
    with ExitStack() as stack:
        environment = {}
        if program.redis:
            environment["REDIS_URL"] = stack.enter_context(redis_server(world.directory)).url
        process = stack.enter_context(command(program.name, words, port, environment))
        yield Server(
            name=program.name,
            pids=[process.pid],
            ports=[port],
            receives=program.talk,
            sends=program.talk,
        )


@contextmanager
def _centrifugo(world: World) -> Iterator[Server]:
    port, internal = free_ports(2)
    room: dict[str, object] = {"name": "room"}
    for who in ("client", "anonymous"):
        room |= {f"allow_subscribe_for_{who}": True, f"allow_publish_for_{who}": True}
    configuration = {
        "client": {"allow_anonymous_connect_without_token": True},
        "channel": {"namespaces": [room]},
        "http_server": {"address": "127.0.0.1", "port": str(port), "internal_port": str(internal)},
        "log": {"level": "error"},
    }
    file = world.directory / "centrifugo.json"
    file.write_text(json.dumps(configuration), "utf-8")
    words = [os.environ[CENTRIFUGO], "--config", str(file)]
    receives = replace(dialect.subscriber(ROOM), headers=())
    sends = replace(dialect.publisher(ROOM), headers=())
    with command("Centrifugo", words, port) as process:
        yield Server(
            name="Centrifugo",
            pids=[process.pid],
            ports=[port],
            receives=receives,
            sends=sends,
        )
