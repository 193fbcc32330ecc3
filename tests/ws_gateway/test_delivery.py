"""How subscriptions are told: by number, as patches, by tags; and that nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from centrifuge.fossil import apply_delta
from hypothesis import given, strategies as st
from msgspec import Raw

from tests.ws_gateway.client import Client, Subscribed
from tests.ws_gateway.conftest import WALL_TIME, FakeLoop, Gateway, build_gateway, settle
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.channel_options import ChannelOptions
from ws_gateway.credentials import Credentials
from ws_gateway.delivery import BY_NAME, Delivery, agree, patch, select, write, write_past
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.codec import JSON, PROTOBUF
from ws_gateway.protocol.messages import FilterNode, Publication, SubscribeRequest

OPTIONS = ChannelOptions(allowed_delta_types=("fossil",), allow_tags_filter=True)
FILTER = FilterNode(key="a", cmp="ex")


def publications(*payloads: bytes) -> tuple[Publication, ...]:
    """Return publications that follow one another."""
    return tuple(
        Publication(data=Raw(payload), offset=offset) for offset, payload in enumerate(payloads, 1)
    )


class TestAgree:
    """Protocol sections 7.2, 7.3, 9 and 10."""

    @pytest.mark.parametrize(
        ("wishes", "positioned", "server_side", "told"),
        [
            ({}, True, False, BY_NAME),
            ({"flag": 1}, False, False, Delivery(numbered=True)),
            ({"flag": 3}, False, False, Delivery(numbered=True)),
            ({"flag": 2}, False, False, BY_NAME),
            ({"flag": 1}, True, True, BY_NAME),
            ({"delta": "fossil"}, True, False, Delivery(delta=True)),
            ({"delta": "fossil"}, True, True, Delivery(delta=True)),
            ({"delta": "fossil"}, False, False, BY_NAME),
        ],
    )
    def test_wished_and_possible(
        self, wishes: dict[str, Any], positioned: bool, server_side: bool, told: Delivery
    ) -> None:
        """What cannot be is left out, and the client is told so by the reply."""
        request = SubscribeRequest(**wishes)
        assert agree(OPTIONS, request, positioned=positioned, numbers=not server_side) == told

    def test_delta_where_the_namespace_has_none(self) -> None:
        """It is a subscription without."""
        request = SubscribeRequest(delta="fossil")
        assert not agree(ChannelOptions(), request, positioned=True, numbers=True).delta

    def test_filter_and_delta_are_not_combined(self) -> None:
        """Section 7.2: a patch would be of a payload that was left out."""
        request = SubscribeRequest(delta="fossil", tf=FILTER)

        told = agree(OPTIONS, request, positioned=True, numbers=True)

        assert told.wants is not None
        assert not told.delta

    @pytest.mark.parametrize(
        ("options", "tree"),
        [(ChannelOptions(), FILTER), (OPTIONS, FilterNode()), (OPTIONS, FilterNode(op="xor"))],
    )
    def test_filter_that_cannot_be_is_107(self, options: ChannelOptions, tree: FilterNode) -> None:
        """Not allowed, or none."""
        with pytest.raises(ReplyError) as refused:
            agree(options, SubscribeRequest(tf=tree), positioned=False, numbers=True)

        assert refused.value.code == 107


class TestWriting:
    """Past publications, and single ones."""

    def test_only_wanted_ones_are_selected(self) -> None:
        """One without tags is as one with none."""
        told = agree(OPTIONS, SubscribeRequest(tf=FILTER), positioned=True, numbers=True)
        tagged, plain = Publication(data=Raw(b"1"), tags={"a": ""}), Publication(data=Raw(b"2"))

        assert select(told, (plain, tagged)) == (tagged,)
        assert select(BY_NAME, (plain, tagged)) == (plain, tagged)

    def test_first_is_whole_and_the_next_are_patches_where_that_saves(self) -> None:
        """Which is what the official SDK makes of them."""
        payloads = [b'"%s%d"' % (b"long " * 20, number) for number in range(3)] + [b"7"]

        whole, *rest = write_past(Delivery(delta=True), PROTOBUF, publications(*payloads))

        assert (bytes(whole.data), whole.delta) == (payloads[0], False)
        assert [one.delta for one in rest] == [True, True, False]
        assert bytes(apply_delta(payloads[0], bytes(rest[0].data))) == payloads[1]
        assert len(bytes(rest[0].data)) < 20

    def test_without_patches_they_stay_as_they_are(self) -> None:
        """Nothing is written anew."""
        past = publications(b"1", b"2")
        assert write_past(BY_NAME, JSON, past) is past

    def test_json_is_a_string_of_json(self) -> None:
        """Section 9: always, once patches were agreed on."""
        (publication,) = publications(b'{"a": "b"}')

        written = write(publication, JSON, None)

        assert bytes(written.data) == b'"{\\"a\\": \\"b\\"}"'
        assert (written.delta, written.offset) == (False, 1)

    @pytest.mark.parametrize("payload", [b"\xff", b"\x00", b"1\n"])
    def test_what_is_no_json_is_3506_for_json_clients(self, payload: bytes) -> None:
        """Also what could stand in a string: the client would find no JSON in it."""
        with pytest.raises(Disconnect) as refused:
            write_past(Delivery(delta=True), JSON, publications(payload))

        assert refused.value.code == 3506

    def test_patch_of_nothing_is_none(self) -> None:
        """A payload before was not given, or is not known."""
        assert patch(b"", b"a" * 100) is None

    @pytest.mark.parametrize("size", [1000, 10_000])
    def test_patch_of_any_size(self, size: int) -> None:
        """Small ones are remembered, which nobody notices."""
        previous, payload = b"a" * size, b"a" * size + b"b"
        for _ in range(2):
            found = patch(previous, payload)
            assert found is not None
            assert bytes(apply_delta(previous, found)) == payload


CHANNELS = """
[without_namespace]
allow_subscribe_for_client = true
history_size = 20
history_ttl = "60s"
force_recovery = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true
"""
WISHES: list[dict[str, Any]] = [
    {},
    {"flag": 1},
    {"delta": "fossil"},
    {"delta": "fossil", "flag": 1},
    {"tf": {"key": "odd", "cmp": "eq", "val": "1"}},
    {"tf": {"op": "not", "nodes": [{"key": "odd", "cmp": "eq", "val": "1"}]}, "flag": 1},
]
CLIENTS_DO = ["come", "go", "leave", "forget"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["deaf", "missed", "hold", "release"]), st.just(0)),
        st.tuples(st.sampled_from(CLIENTS_DO), st.integers(0, 11)),
    ),
    max_size=30,
)


class TestRecord:
    """Promise 1 for every kind of subscription, in both encodings, side by side."""

    @given(STEPS, st.randoms(use_true_random=False))
    def test_what_is_decoded_is_what_was_published(
        self, steps: list[tuple[str, int]], random: Random
    ) -> None:
        """Through losses, gaps that are filled, and clients that come and go."""
        asyncio.run(self.live(steps, random))

    async def live(self, steps: list[tuple[str, int]], random: Random) -> None:
        """Do the steps, let all come to rest, and hold every record to what was published."""
        gateway = build_gateway(FakeLoop(), channels=CHANNELS)
        clients = []
        for number, wish in enumerate(WISHES * 2):
            client = Client(gateway, make_credentials(number), [JSON, PROTOBUF][number // 6])
            await client.connect()
            await client.subscribe("news", **wish)
            clients.append(client)
        published: dict[int, bytes] = {}
        rows = {str(number): "value" for number in range(20)}
        for step, count in steps:
            if step == "publish":
                for _ in range(count):
                    rows[str(random.randrange(25))] = random.choice(["ä", "€😀", "x" * 30])
                    payload = json.dumps(rows, ensure_ascii=random.random() < 0.5).encode()
                    published[len(published) + 1] = payload
                    await self.publish(gateway, payload, len(published))
            elif step in CLIENTS_DO:
                await self.move(clients[count], step)
            else:
                self.disturb(gateway, step)
            for client in clients:
                await client.read()
        gateway.broker._handler = gateway.node.on_publication
        gateway.broker.release()
        gateway.node.streams.missed("news")
        await settle()
        for client in clients:
            await client.read()
            await self.come_back(client)
            assert not client.errors
            check(client.channels["news"], published)
        await gateway.check_nothing_left()

    async def move(self, client: Client, step: str) -> None:
        """Let a client come or go."""
        one = client.channels["news"]
        if step == "come":
            await self.come_back(client)
        elif step == "leave" and one.active:
            await client.ask(unsubscribe={"channel": "news"})
            one.active = False
        elif step != "leave":
            client.lose()
            if step == "forget":
                client.channels["news"] = Subscribed(one.wish, told=one.told + 1)

    @staticmethod
    def disturb(gateway: Gateway, step: str) -> None:
        """Let something go wrong between the processes, or end."""
        broker, node = gateway.broker, gateway.node
        match step:
            case "deaf":
                deaf = broker._handler is _lose
                broker._handler = node.on_publication if deaf else _lose
            case "missed":
                node.streams.missed("news")
            case "hold":
                broker.held = True
            case _:
                broker.release()

    @staticmethod
    async def come_back(client: Client) -> None:
        """Let a client be there again, as an SDK would."""
        if client.connection.closed:
            await client.connect()
        if not (client.channels["news"].active or client.channels["news"].pending):
            await client.subscribe("news")

    @staticmethod
    async def publish(gateway: Gateway, payload: bytes, number: int) -> None:
        """Publish with tags, as another process would."""
        node = gateway.node
        publication = Publication(data=Raw(payload), tags={"odd": str(number % 2)})
        options = node.publish_options(node.channels.resolve("news"))
        await MemoryBroker.publish(gateway.broker, "news", publication, options)  # also if held


def _lose(*_publication: object) -> None:
    """Take a publication that never arrives."""


def make_credentials(number: int) -> Credentials:
    """Return a user of his own."""
    return Credentials(
        user=f"user{number}",
        client_id="chat",
        scopes=frozenset({"connect"}),
        expires_at=WALL_TIME + 3600,
        jti="j",
        sid=f"s{number}",
        issuer="https://issuer.example",
    )


def check(record: Subscribed, published: dict[int, bytes]) -> None:
    """Hold one record to what was published: the true payloads, in order, all or told."""
    assert [published[offset] for offset in record.offsets] == record.payloads
    assert record.offsets == sorted(set(record.offsets))
    wanted = list(published)
    if "tf" in record.wish:
        odd = 0 if "op" in record.wish["tf"] else 1
        wanted = [offset for offset in published if offset % 2 == odd]
    if not record.told:
        assert record.offsets == wanted
    assert set(record.offsets) <= set(wanted)
