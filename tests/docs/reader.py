"""Somebody who reads a page and does what stands in its blocks, one after the other."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jose import jwt

from tests.docs.blocks import PICTURE, ROOT, Block
from tests.docs.conversation import hold, is_conversation
from tests.docs.shell import Shell
from tests.integration import npm
from tests.integration.embedded import Embedded
from ws_gateway.channels import Channels

SECONDS = 60
SECRET = "a secret that only the backend and the gateway know"
API_KEY = "the-key-of-the-backends-in-forty-letters"
PREFIX = "own"
_JAVASCRIPT = ROOT / "tests" / "sdk" / "javascript"
# Node has to be told what a browser brings along; addresses are checked against the demo's CA.
_BROWSER = 'import { WebSocket as browsers } from "ws";\nglobalThis.WebSocket ??= browsers;\n'
_SETTING = re.compile(r"([A-Z_]+)=(\S+)")


def make_server(
    directory: Path, settings: Mapping[str, str], *, ports: list[int] | None = None
) -> Embedded:
    """Prepare the demo's server, with what the blocks of the pages need besides.

    It accepts a backend's tokens too, therefore its own issuer's users have a prefix.
    """
    shared = {"GATEWAY_LAST_SEEN_USERS": "100", "GATEWAY_API_KEY": API_KEY}
    server = Embedded(directory, {**shared, **settings}, ports=ports)
    auth = f"http://127.0.0.1:{server.ports[1]}"
    issuer = {
        "issuer": server.url,
        "jwks_url": f"{auth}/.well-known/jwks.json",
        "audience": "drawbridge",
        "user_prefix": PREFIX,
    }
    server.environment["GATEWAY_HMAC_SECRET"] = SECRET
    server.environment["GATEWAY_ISSUERS"] = json.dumps([issuer])
    return server


class Reader:
    """Runs blocks in a folder of its own, beside a server.

    Args:
        folder: Where files are written and programs run; ``.local``, ``docs`` and ``infra`` are
            there as at the top of the repository.
        server: The server that runs already; None if the page starts its own.
        start: Stops the page's own server, if there is one, and starts it with these settings.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: Callable[[Mapping[str, str]], Embedded],
        server: Embedded | None = None,
    ) -> None:
        self._folder = folder
        self._start = start
        self._server = server
        self._shell: Shell | None = None
        self._printed = ""
        self._tokens: dict[str, str] = {}
        for name in ("docs", "infra"):
            (folder / name).symlink_to(ROOT / name)

    @property
    def server(self) -> Embedded:
        """The server that the page is about; it is up."""
        if self._server is None:
            self._server = self._start({})
        local = self._folder / ".local"
        if not local.exists():
            local.symlink_to(self._server.local)
        return self._server

    def do(self, block: Block) -> None:
        """Do what the block says; what it prints is kept for the next one."""
        match block:
            case Block(word="not run"):
                return
            case Block(word="file"):
                (self._folder / block.note).write_text(block.text, "utf-8")
            case Block(word="prints"):
                assert _printed_like(block.text, self._printed), f"{block}: {self._printed}"
            case Block(language=""):
                assert is_conversation(block.text), f"{block}: neither code nor a conversation"
                self._converse(block)
            case Block(language="toml"):
                Channels.from_toml(block.text)
            case Block(language="json"):
                json.loads(block.text)
            case Block(language="python"):
                self._printed = self._run(block, [sys.executable, "-"], block.text)
            case Block(language="js"):
                node = npm.node(_JAVASCRIPT)
                options = ["--input-type=module", "-"]
                self._printed = self._run(block, [node, *options], _BROWSER + block.text)
            case Block(language="sh"):
                self._tell(block)
            case _:
                assert block.language == PICTURE, f"{block}: nobody knows how to run this"

    def end(self) -> None:
        """Close the shell."""
        if self._shell is not None:
            self._shell.end()

    def _settings(self, written: str) -> dict[str, str]:
        """Read what stands before ``make run``; files and modules are in the folder."""
        settings = {"PYTHONPATH": str(self._folder)}
        for name, value in _SETTING.findall(written):
            path = self._folder / value
            settings[name] = str(path) if path.exists() else value
        return settings

    def _log_in(self) -> dict[str, str]:
        if not self._tokens:
            self._tokens = {name: self.server.token(name) for name in ("alice", "bob")}
        return self._tokens

    def _names(self) -> dict[str, str]:
        """Say what the words in capitals stand for: users, and a token of the backend's."""
        users = {name: f"{PREFIX}.{subject(token)}" for name, token in self._log_in().items()}
        claims = {"sub": users["alice"], "channel": "$room:plans", "exp": int(time.time()) + 600}
        names = {name.upper(): user for name, user in users.items()}
        return {**names, "SUBSCRIPTION_TOKEN": jwt.encode(claims, SECRET, "HS256")}

    def _converse(self, block: Block) -> None:
        names, tokens = self._names(), self._log_in()
        asyncio.run(hold(block.text, self.server, names=names, tokens=tokens))

    def _variables(self) -> dict[str, str]:
        server = self.server
        return {
            **os.environ,
            "DRAWBRIDGE": f"localhost:{server.front}",
            "GATEWAY_API_KEY": API_KEY,
            "NODE_EXTRA_CA_CERTS": str(server.local / "ca.pem"),
            "SUBSCRIPTION_TOKEN": self._names()["SUBSCRIPTION_TOKEN"],
            "TOKEN": self._log_in()["alice"],
        }

    def _run(self, block: Block, command: list[str], program: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own pages
            command,
            input=self._here(program),
            # Node looks for packages from where it runs; nothing there is written.
            cwd=_JAVASCRIPT if block.language == "js" else self._folder,
            env=self._variables(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{block}: {done.stderr}"
        return done.stdout

    def _tell(self, block: Block) -> None:
        for line in block.text.splitlines():
            settings, _, order = line.rpartition("make ")
            if order == "run" and (settings or self._server is None):
                self._server = self._start(self._settings(settings))
                self._tokens.clear()
        text = re.sub(r"^.*\bmake run$\n?", "", block.text, flags=re.MULTILINE)
        assert not re.search(r"\bmake\b", text), f"{block}: a test makes nothing but `run`"
        if not text.strip():
            return
        if self._shell is None:
            self._shell = Shell(self._folder, self._variables())
        text = text.replace(".venv/bin/python", shlex.quote(sys.executable))
        self._printed = "\n".join(self._shell.tell(self._here(text)))

    def _here(self, text: str) -> str:
        """Write the addresses of the pages' server as those of the test's."""
        text = text.replace("localhost:8443", f"localhost:{self.server.front}")
        return text.replace("127.0.0.1:9011", f"127.0.0.1:{self.server.internal}")


def subject(token: str) -> str:
    """Return who a token is about."""
    return str(jwt.get_unverified_claims(token)["sub"])


def _printed_like(shown: str, printed: str) -> bool:
    """Compare line by line; ``…`` stands for anything within one."""
    pattern = re.escape(shown.rstrip()).replace(re.escape("…"), ".*")
    return re.fullmatch(pattern, printed.rstrip()) is not None
