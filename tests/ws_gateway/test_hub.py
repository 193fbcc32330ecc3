"""Which connection is in which channel, and one frame for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw
from typing_extensions import override

from ws_gateway.hub import Hub
from ws_gateway.protocol.codec import JSON, Codec
from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.messages import Publication, Push, Reply

PUBLICATION = Publication(data=Raw(b'{"a":1}'))


class CountingCodec(JSONCodec):
    """Counts what it encodes."""

    def __init__(self) -> None:
        self.encoded = 0

    @override
    def encode(self, reply: Reply) -> bytes:
        """See Codec."""
        self.encoded += 1
        return super().encode(reply)


class RecordingSubscriber:
    """Takes frames."""

    def __init__(self, codec: Codec = JSON) -> None:
        self._codec = codec
        self.frames: list[bytes] = []

    @property
    def codec(self) -> Codec:
        """See Subscriber."""
        return self._codec

    def send(self, frame: bytes) -> None:
        """See Subscriber."""
        self.frames.append(frame)


@pytest.fixture
def hub() -> Hub:
    """An empty hub."""
    return Hub()


class TestBroadcast:
    """Encode once per codec, hand the same bytes to everybody (design section 1)."""

    def test_every_subscriber_of_the_channel_gets_the_push(self, hub: Hub) -> None:
        """And nobody else."""
        inside, outside = [RecordingSubscriber() for _ in range(3)], RecordingSubscriber()
        for subscriber in inside:
            hub.add("news", subscriber)
        hub.add("other", outside)

        count = hub.broadcast("news", PUBLICATION)

        frame = JSON.encode(Reply(push=Push(channel="news", pub=PUBLICATION)))
        assert count == 3
        assert [subscriber.frames for subscriber in inside] == [[frame]] * 3
        assert outside.frames == []

    def test_frame_is_built_once_for_all_of_a_codec(self, hub: Hub) -> None:
        """A thousand receivers cost one encoding, and share its bytes."""
        codecs = [CountingCodec(), CountingCodec()]
        subscribers = [RecordingSubscriber(codec) for codec in codecs for _ in range(500)]
        for subscriber in subscribers:
            hub.add("news", subscriber)

        hub.broadcast("news", PUBLICATION)

        assert [codec.encoded for codec in codecs] == [1, 1]
        assert len({id(subscriber.frames[0]) for subscriber in subscribers}) == 2

    def test_channel_without_subscribers_costs_nothing(self, hub: Hub) -> None:
        """A publication may arrive after the last one left."""
        assert hub.broadcast("news", PUBLICATION) == 0
        assert "news" not in hub


class TestMembership:
    """Removing says when a channel has had its last subscriber."""

    def test_remove_tells_the_last_one(self, hub: Hub) -> None:
        """Then the broker may give the channel up."""
        first, second = RecordingSubscriber(), RecordingSubscriber(CountingCodec())
        hub.add("news", first)
        hub.add("news", second)

        assert not hub.remove("news", first)
        assert "news" in hub
        assert hub.remove("news", second)
        assert "news" not in hub

    def test_subscriber_is_in_a_channel_once(self, hub: Hub) -> None:
        """Adding it again changes nothing, also not what is counted."""
        subscriber = RecordingSubscriber()

        hub.add("news", subscriber)
        hub.add("news", subscriber)

        assert hub.subscriptions == 1
        assert hub.broadcast("news", PUBLICATION) == 1
        assert hub.remove("news", subscriber)
        assert (hub.subscriptions, len(hub)) == (0, 0)

    @given(
        st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 3)), max_size=60)
    )
    def test_it_is_a_set_of_pairs(self, steps: list[tuple[bool, str, int]]) -> None:
        """Against a model; and nothing is kept of what was removed."""
        hub = Hub()
        codecs = [CountingCodec(), CountingCodec()]
        subscribers = [RecordingSubscriber(codecs[number % 2]) for number in range(4)]
        model: set[tuple[str, int]] = set()

        for add, channel, number in steps:
            if add:
                hub.add(channel, subscribers[number])
                model.add((channel, number))
            elif (channel, number) in model:
                model.remove((channel, number))
                last = not any(other == channel for other, _ in model)
                assert hub.remove(channel, subscribers[number]) is last
            assert hub.subscriptions == len(model)
            assert len(hub) == len({channel for channel, _ in model})
            for name in "abc":
                members = [number for channel, number in model if channel == name]
                assert (name in hub) is bool(members)
                assert hub.broadcast(name, PUBLICATION) == len(members)
        for channel, number in model:
            hub.remove(channel, subscribers[number])

        assert not hub._channels
        assert hub.subscriptions == 0
