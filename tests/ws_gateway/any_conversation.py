"""Several clients say anything, in both encodings; each is answered as the protocol wants it.

A model says what every whole command comes to. What is mangled may mean anything, so it is only
held to the protocol's own codes. Two witnesses watch a channel meanwhile, and notice nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw
from typing_extensions import override

from tests.ws_gateway.client import Client, write_varint
from tests.ws_gateway.conftest import WALL_TIME, FakeLoop, Gateway, build_gateway
from ws_gateway.broker.base import HistoryFilter
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.codes import ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.protocol import client_pb2 as pb
from ws_gateway.protocol.codec import JSON, PROTOBUF, Codec
from ws_gateway.protocol.messages import Publication
from ws_gateway.session import State

CHANNELS = """
[namespaces.quiet]
allow_subscribe_for_client = true
history_size = 20
history_ttl = "60s"
force_recovery = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true

[namespaces.loud]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
history_size = 5
history_ttl = "60s"
force_recovery = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true
"""
MAX_CHANNELS = 4
NAMES = ["loud:a", "loud:b", "loud:c", "loud:d", "quiet:a", "nowhere:a", "ä", "", "x" * 256]
GOOD_FILTER = {"key": "a", "cmp": "ex"}
DEEP = "[" * 61 + "]" * 61

Outcome = tuple[str, int]
ANSWER: Outcome = ("answer", 0)

CHANNEL = st.sampled_from(NAMES)
REQUESTS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {
            "subscribe": st.fixed_dictionaries(
                {"channel": CHANNEL},
                optional={
                    "recover": st.just(True),
                    "offset": st.sampled_from([0, 1, 3, 2**64 - 1, 2**64, 2**70]),
                    "epoch": st.sampled_from(["", "_"]),
                    "flag": st.sampled_from([0, 1, 2, 3, 2**63 - 1]),
                    "delta": st.sampled_from(["", "fossil", "fossil", "zip"]),
                    "tf": st.sampled_from([GOOD_FILTER, GOOD_FILTER, {}, {"op": "and"}]),
                    "type": st.sampled_from([0, 0, 1]),
                    "token": st.sampled_from(["", "", "t"]),
                },
            )
        }
    ),
    st.fixed_dictionaries({"unsubscribe": st.fixed_dictionaries({"channel": CHANNEL})}),
    st.fixed_dictionaries(
        {
            "publish": st.fixed_dictionaries(
                {"channel": CHANNEL, "data": st.sampled_from(["1", '{"a":"ä"}', "", "1e999", DEEP])}
            )
        }
    ),
    st.fixed_dictionaries({"presence": st.fixed_dictionaries({"channel": CHANNEL})}),
    st.fixed_dictionaries({"presence_stats": st.fixed_dictionaries({"channel": CHANNEL})}),
    st.fixed_dictionaries(
        {
            "history": st.fixed_dictionaries(
                {"channel": CHANNEL, "limit": st.sampled_from([-1, 0, 2, 2**31 - 1])},
                optional={"since": st.sampled_from([{}, {"offset": 1}, {"epoch": "other"}])},
            )
        }
    ),
    st.fixed_dictionaries(
        {"sub_refresh": st.fixed_dictionaries({"channel": CHANNEL, "token": st.just("t")})}
    ),
    st.just({"rpc": {"method": "m"}}),
    st.sampled_from([{"send": {}}, {"ping": {}}, {"refresh": {"token": "t"}}, {"connect": {}}, {}]),
)
_CODES = {int(code) for code in ErrorCode}
_Result = TypeVar("_Result")


class AnyConversation(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.published: list[bytes] = []
        self.clients: list[Client] = []
        self.gateway = self.run(self.begin())

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run in the machine's loop."""
        return self.runner.run(work)

    async def begin(self) -> Gateway:
        """Open the gateway, with two witnesses."""
        gateway = build_gateway(FakeLoop(), channels=CHANNELS, max_channels=MAX_CHANNELS)
        self.witnesses = []
        for codec, wish in ((JSON, {"delta": "fossil"}), (PROTOBUF, {"flag": 1})):
            witness = Client(gateway, credentials("witness"), codec)
            await witness.connect()
            await witness.subscribe("quiet:a", **wish)
            self.witnesses.append(witness)
        return gateway

    @precondition(lambda self: len(self.clients) < 3)
    @rule(codec=st.sampled_from([JSON, PROTOBUF]), connected=st.booleans())
    def come(self, codec: Codec, connected: bool) -> None:
        """Another client."""
        client = Client(self.gateway, credentials(f"user{len(self.clients)}"), codec)
        self.clients.append(client)
        self.run(client.connect() if connected else client.open())

    @precondition(lambda self: self.clients)
    @rule(who=st.integers(0, 2), request=REQUESTS, command_id=st.sampled_from([1, 7, 2**32 - 1]))
    def say(self, who: int, request: dict[str, Any], command_id: int) -> None:
        """One whole command, and what must come of it."""
        client = self.clients[who % len(self.clients)]
        if client.codec.binary:
            offset = request.get("subscribe", {}).get("offset", 0)
            if offset >= 2**64:
                return  # cannot be written
        outcome = self.expect(client, request)
        message = encode(client.codec, {"id": command_id, **request})
        replies = self.send(client, message)
        if outcome[0] == "close":
            assert client.closed == outcome[1]
            self.clients.remove(client)
            return
        assert client.closed is None
        (reply,) = [reply for reply in replies if not client.is_push(reply)]
        assert reply.id == command_id
        error = client.error(reply)
        assert (("error", error) if error else ANSWER) == outcome

    @precondition(lambda self: self.clients)
    @rule(
        who=st.integers(0, 2),
        request=REQUESTS,
        at=st.floats(0, 1, exclude_max=True),
        how=st.sampled_from(["cut", "flip", "insert", "twice"]),
        byte=st.integers(0, 255),
    )
    def mangle(self, who: int, request: dict[str, Any], at: float, how: str, byte: int) -> None:
        """A command that was damaged: an answer, or the end with a code of the protocol."""
        client = self.clients[who % len(self.clients)]
        if request.get("subscribe", {}).get("offset", 0) >= 2**64:
            return
        message = encode(client.codec, {"id": 3, **request})
        place = int(at * len(message))
        match how:
            case "cut":
                message = message[:place]
            case "flip":
                message = message[:place] + bytes([byte]) + message[place + 1 :]
            case "insert":
                message = message[:place] + bytes([byte]) + message[place:]
            case _:  # twice
                message = message[:place] + message
        for reply in self.send(client, message):
            if not client.is_push(reply):
                assert client.error(reply) in {0, *_CODES}
        if client.closed is not None:
            assert client.closed in {3500, 3501, 3508}
            self.clients.remove(client)

    @precondition(lambda self: self.clients)
    @rule(who=st.integers(0, 2))
    def wrong_kind(self, who: int) -> None:
        """Text for binary, or the other way round: 3501."""
        client = self.clients.pop(who % len(self.clients))

        async def send() -> None:
            client.connection.receive(b"{}", binary=not client.codec.binary)

        self.run(send())
        assert client.closed == 3501

    @precondition(lambda self: self.clients)
    @rule(who=st.integers(0, 2))
    def go(self, who: int) -> None:
        """A client is gone."""
        client = self.clients.pop(who % len(self.clients))

        async def lose() -> None:
            client.lose()

        self.run(lose())

    @rule(number=st.integers(0, 1000))
    def publish(self, number: int) -> None:
        """Something is published for the witnesses, and whoever is there too."""
        payload = b'{"text": "%s", "number": %d}' % (b"the same " * 5, number)
        self.published.append(payload)
        self.run(self._publish(Publication(data=Raw(payload))))

    async def _publish(self, publication: Publication) -> None:
        node = self.gateway.node
        options = node.publish_options(node.channels.resolve("quiet:a"))
        await MemoryBroker.publish(self.gateway.broker, "quiet:a", publication, options)

    @invariant()
    def witnesses_notice_nothing(self) -> None:
        """Only what is published for them."""
        for witness in self.witnesses:
            self.run(witness.read())
            assert witness.closed is None
            assert witness.channels["quiet:a"].payloads == self.published
        assert not self.gateway.faults

    @override
    def teardown(self) -> None:
        """Let nothing of it remain."""
        try:
            self.run(self.gateway.check_nothing_left())
        finally:
            self.runner.close()

    def send(self, client: Client, message: bytes) -> list[Any]:
        """Send a message; returns what comes."""

        async def exchange() -> list[Any]:
            client.connection.receive(message, binary=client.codec.binary)
            return await client.replies()

        return self.run(exchange())

    def expect(self, client: Client, request: dict[str, Any]) -> Outcome:
        """Say what a command comes to (protocol sections 4, 7 and 11)."""
        name = next(iter(request), "")
        content: dict[str, Any] = request.get(name, {})
        session = client.connection.session
        match name:
            case "connect" if session.state is State.OPENED:
                return ANSWER
            case "" | "connect" | "ping" | "refresh":
                return "close", 3501
            case "send":
                return "close", 3508
            case "rpc":
                return "error", 108
            case "subscribe" if content["channel"]:
                there = content["channel"] in session.channels
                return self.expect_subscribe(content, there, len(session.channels))
            case "unsubscribe" if content["channel"]:
                return ANSWER
            case "sub_refresh":
                # There is no secret to verify a token with.
                there = not content["channel"] or content["channel"] in session.channels
                return ("close", 3500) if there else ("error", 103)
            case _ if not content["channel"]:
                return "close", 3501
            case _:
                pass
        return self.expect_in(content, name, content["channel"] in session.channels)

    @staticmethod
    def expect_in(content: dict[str, Any], name: str, there: bool) -> Outcome:
        """Say what a command comes to that changes nothing for its client."""
        channel = content["channel"]
        if unknown := unknown_channel(channel):
            return "error", unknown
        if name in ("presence", "presence_stats"):
            return "error", 108
        if name == "publish":
            if channel == "quiet:a":
                return "error", 103
            return ANSWER if content["data"] in ("1", '{"a":"ä"}') else ("error", 107)
        if channel == "quiet:a" or not there:
            return "error", 103
        return ("error", 112) if content.get("since", {}).get("epoch") else ANSWER

    def expect_subscribe(self, content: dict[str, Any], there: bool, count: int) -> Outcome:
        """Say what a subscribe comes to."""
        channel = content["channel"]
        if content.get("offset", 0) >= 2**64 or content.get("delta") == "zip":
            return "close", 3501
        if there:
            return "error", 105
        if count >= MAX_CHANNELS:
            return "error", 106
        if content.get("type"):
            return "error", 103
        if unknown := unknown_channel(channel):
            return "error", unknown
        if content.get("token"):
            return "error", 103
        if content.get("tf", GOOD_FILTER) != GOOD_FILTER:
            return "error", 107
        if content.get("recover") and content.get("flag", 0) & 2:
            top = self.run(MemoryBroker.history(self.gateway.broker, channel)).position
            offset = content.get("offset", 0)
            wanted = HistoryFilter(limit=-1, since=offset)
            found = self.run(MemoryBroker.history(self.gateway.broker, channel, wanted))
            kept = found.publications
            whole = len(kept) == top.offset - offset
            if content.get("epoch") or not whole:
                return "error", 112
        return ANSWER


def unknown_channel(channel: str) -> int:
    """Return the error for a name that is none, else 0."""
    if channel == "nowhere:a":
        return 102
    return 107 if channel in ("ä", "x" * 256) else 0


def credentials(user: str) -> Credentials:
    """Return a user."""
    return Credentials(
        user=user,
        client_id="chat",
        scopes=frozenset({"connect"}),
        expires_at=WALL_TIME + 3600,
        jti="j",
        sid="s",
        issuer="https://issuer.example",
    )


def encode(codec: Codec, command: dict[str, Any]) -> bytes:
    """Write a command; a payload is given as text."""
    if codec.binary:
        content = {
            name: value | {"data": value["data"].encode()} if name == "publish" else value
            for name, value in command.items()
        }
        message = pb.Command(**content).SerializeToString()
        return write_varint(len(message)) + message
    text = json.dumps(command)
    if "publish" in command:
        data = command["publish"]["data"]
        text = text.replace('"data": ' + json.dumps(data), f'"data": {data}' if data else '"x": 0')
    return text.encode()
