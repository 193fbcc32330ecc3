"""What the README and the pages of docs/ say is so."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import auth_service
import ws_gateway
from ws_gateway.channels import Channels
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.hooks import Caller, Hooks
from ws_gateway.jws import parse
from ws_gateway.protocol.messages import REQUEST_NAMES
from ws_gateway.settings import Settings as GatewaySettings
from ws_gateway.subscription_tokens import SubscriptionTokens

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    """A reader who follows a link finds a file."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """Return what a page's headings are called in links, as the usual hosts do it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_a_heading_lead_to_one(page: Path) -> None:
    """Of this page or of another."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8"))
    targets = [(page.parent / name if name else page, anchor) for name, anchor in links]

    assert [anchor for target, anchor in targets if anchor not in anchors(target)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_make_targets_exist(page: Path) -> None:
    """Every `make target` in backquotes or a shell block is one of the Makefile's."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = page.read_text("utf-8")
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [
        *re.findall(r"`make ([a-z -]+)", text),
        *re.findall(r"make ([a-z -]+)$", "\n".join(lines), re.MULTILINE),
    ]
    named = {target for command in commands for target in command.split()}

    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile(page: Path) -> None:
    """A block somebody pastes is Python."""
    for block in blocks(page, "python"):
        ast.parse(block)


def test_the_channels_files_of_the_protocol_page_are_ones() -> None:
    """The examples are read by the same code as an operator's file."""
    files = [Channels.from_toml(block) for block in blocks(ROOT / "docs" / "protocol.md", "toml")]

    assert files[0].personal_channel("abc") == "dm:#abc"
    assert files[0].namespaces["team"].allow_user_limited_channels
    assert files[1].namespaces["room"].history


def test_the_channels_file_of_its_own_page_is_one() -> None:
    """With the options it speaks of."""
    (block,) = blocks(ROOT / "docs" / "channels.md", "toml")

    channels = Channels.from_toml(block)

    assert channels.allow_anonymous_connect
    assert channels.namespaces["room"].history_ttl == 3600


def test_the_backends_tokens_are_good() -> None:
    """They are signed as the page says, and judged as the gateway does."""
    (block,) = blocks(ROOT / "docs" / "channels.md", "python")
    signed: dict[str, str] = {}
    exec(block, signed)  # noqa: S102 - our own page
    secret = signed["secret"].encode()

    credentials = HMACTokens(secret).verify(parse(signed["connection"]))
    subscription = SubscriptionTokens(secret).verify(signed["subscription"])

    assert credentials.user == subscription.user == "42"
    assert subscription.channel == "$room:1"


async def test_the_hooks_of_their_page_do_what_it_says() -> None:
    """The block is a module of hooks."""
    block, _ = blocks(ROOT / "docs" / "hooks.md", "python")
    module: dict[str, Any] = {}
    exec(block, module)  # noqa: S102 - our own page
    hooks: Hooks = module["hooks"]
    alice = Caller(user="alice", client="c", scopes=frozenset(), info=None)

    connected = await hooks.on_connect(alice, b"")
    with pytest.raises(Disconnect, match="4501 banned"):
        await hooks.on_connect(replace(alice, user="eve"), b"")
    with pytest.raises(ReplyError, match="1001 text only"):
        await hooks.on_publish(alice, "news", b"1")

    assert connected.channels == ("news",)
    assert await hooks.on_publish(alice, "news", b'"hi"') == b'{"text":"hi"}'
    assert (await hooks.on_subscribe(alice, "news", b"")).info == b'{"role":"guest"}'
    assert await hooks.call(alice, "add", b'{"a":1,"b":2}') == b"3"
    hooks.close()


def test_the_issuers_of_the_revocations_page_are_accepted() -> None:
    """Each list is a setting that the gateway starts with."""
    others = {"GATEWAY_REDIS_URL": "redis://localhost", "GATEWAY_ORIGINS": "https://app.example"}
    found = []
    for block in blocks(ROOT / "docs" / "revocations.md", "sh"):
        name, _, value = shlex.split(block)[0].partition("=")
        found.append(GatewaySettings.from_environment({**others, name: value}).issuers)

    assert [[issuer.revocations for issuer in issuers] for issuers in found] == [
        ["redis"],
        [None, "redis"],
    ]


async def test_the_client_of_the_bare_page_resumes_where_it_was_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After 3001 it comes back with its position, and hears what it missed; after 3500 it ends."""
    (block,) = blocks(ROOT / "docs" / "bare.md", "python")
    asked: list[Any] = []

    async def answer(socket: ServerConnection) -> None:
        asked.append(json.loads(await socket.recv())["subscribe"])
        subscribed: dict[str, Any] = {"epoch": "e", "offset": 7}
        if len(asked) > 1:
            subscribed |= {"recovered": True, "publications": [{"data": "missed", "offset": 9}]}
        await socket.send(json.dumps({"id": 1, "subscribe": subscribed}))
        if len(asked) == 1:
            push = {"push": {"channel": "c", "pub": {"data": "heard", "offset": 8}}}
            await socket.send(json.dumps(push) + "\n" + json.dumps({"push": {"channel": "c"}}))
        await socket.close(3001 if len(asked) == 1 else 3500)

    async with serve(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code = block.replace("asyncio.run(main())", "")
        code = code.replace('ssl.create_default_context(cafile=".local/ca.pem")', "None")
        code = code.replace("wss://localhost:8443", f"ws://127.0.0.1:{port}")
        # Wait for nobody before coming back.
        code = code.replace("random.uniform(0, wait)", "0")
        monkeypatch.setenv("TOKEN", "t")
        module: dict[str, Any] = {}
        exec(code, module)  # noqa: S102 - our own page
        heard = []

        async def listen() -> None:
            async for data in module["listen"]("c"):
                heard.append(data)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(ConnectionClosed, match="3500"):
            await listen()

    assert heard == ["heard", "missed"]
    assert asked == [
        {"channel": "c", "recover": False},
        {"channel": "c", "recover": True, "epoch": "e", "offset": 8},
    ]


def test_the_protocol_page_has_an_example_of_every_command() -> None:
    """Each is sent in a conversation, which a test holds; nobody sends ``ping``."""
    sent = "\n".join(re.findall(r"^> (.*)$", PROTOCOL, re.MULTILINE))
    names = set(REQUEST_NAMES.values()) - {"ping"}

    assert {name for name in names if f'"{name}":{{' not in sent} == set()


def test_codes_of_the_protocol_page_are_the_codes() -> None:
    """Every number of its tables is in ``codes.py``."""
    listed = re.findall(r"^\| ((?:\d{3,4}(?:, )?)+) \|", PROTOCOL, re.MULTILINE)
    numbers = {int(number) for cell in listed for number in cell.split(", ")}

    assert numbers
    assert numbers <= {*map(int, ErrorCode), *map(int, DisconnectCode)}


def test_the_version_is_the_same_everywhere() -> None:
    """One version for the stack, and the changelog's newest entry is about it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    newest = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )[0]

    assert {project, newest, auth_service.__version__, ws_gateway.__version__} == {project}
