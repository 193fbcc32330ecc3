"""Which connection is in which channel, and one frame for all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw
from typing_extensions import override

from ws_gateway.delivery import BY_NAME, Delivery
from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import split
from ws_gateway.hub import Hub
from ws_gateway.protocol.codec import JSON, PROTOBUF, Codec
from ws_gateway.protocol.json_codec import JSONCodec
from ws_gateway.protocol.messages import ClientInfo, Join, Leave, Publication, Push, Reply

PUBLICATION = Publication(data=Raw(b'{"a":1}'))
NUMBERED = Delivery(numbered=True)


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
        self.refused: list[int] = []

    @property
    def codec(self) -> Codec:
        """See Subscriber."""
        return self._codec

    def send(self, frame: bytes) -> None:
        """See Subscriber."""
        self.frames.append(frame)

    def refuse(self, end: Disconnect) -> None:
        """See Subscriber."""
        self.refused.append(end.code)


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

    def test_who_cannot_be_told_is_refused_and_the_others_are_told(self, hub: Hub) -> None:
        """3506 for JSON clients where the payload is none (protocol section 2.1)."""
        subscribers = [RecordingSubscriber(codec) for codec in (JSON, PROTOBUF, JSON)]
        for subscriber in subscribers:
            hub.add("news", subscriber)

        told = hub.broadcast("news", Publication(data=Raw(b"\x00")))

        assert told == 1
        assert [subscriber.refused for subscriber in subscribers] == [[3506], [], [3506]]
        assert [len(subscriber.frames) for subscriber in subscribers] == [0, 1, 0]
        assert hub.subscriptions == 3

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


LONG = b'{"text":"%s"}' % (b"the same " * 10)


def publication(number: int, **more: Any) -> Publication:  # noqa: ANN401 - Publication's own
    """Return one of publications that are much alike."""
    return Publication(data=Raw(LONG + b" " * number), offset=number, **more)


def pushes(subscriber: RecordingSubscriber) -> list[Any]:
    """Return what a JSON subscriber was sent."""
    return [json.loads(content)["push"] for _, content in split(b"".join(subscriber.frames))]


def test_channels_and_their_subscribers_are_counted(hub: Hub) -> None:
    """In whatever form they are told."""
    for channel, told in (("a", NUMBERED), ("a", Delivery()), ("b", NUMBERED)):
        hub.add(channel, RecordingSubscriber(), told)

    assert hub.channels() == ("a", "b")
    assert [hub.count(channel) for channel in ("a", "b", "c")] == [2, 1, 0]


class TestNumbers:
    """Protocol section 7.3: a number instead of the name, the same for all who want it."""

    def test_numbered_subscribers_share_one_frame_without_the_name(self, hub: Hub) -> None:
        """The others are told the name."""
        numbered, named = [RecordingSubscriber() for _ in range(2)], RecordingSubscriber()
        for subscriber in numbered:
            hub.add("news", subscriber, NUMBERED)
        hub.add("news", named)

        assert hub.broadcast("news", PUBLICATION) == 3

        number = hub.number("news")
        assert number > 0
        assert pushes(numbered[0]) == [{"id": number, "pub": {"data": {"a": 1}}}]
        assert numbered[0].frames[0] is numbered[1].frames[0]
        assert pushes(named) == [{"channel": "news", "pub": {"data": {"a": 1}}}]

    def test_no_number_is_given_twice(self, hub: Hub) -> None:
        """Not to two channels, and not to one that comes later."""
        first, second = RecordingSubscriber(), RecordingSubscriber()
        numbers = []
        for channel in ("news", "other"):
            hub.add(channel, first, NUMBERED)
            hub.add(channel, second, NUMBERED)
            numbers.append(hub.number(channel))
        hub.remove("news", first)
        numbers_kept = hub.number("news")
        hub.remove("news", second)
        gone = hub.number("news")
        hub.add("news", first, NUMBERED)

        assert (numbers_kept, gone) == (numbers[0], 0)
        assert len({*numbers, hub.number("news")}) == 3

    def test_who_watches_is_told_by_number_too(self, hub: Hub) -> None:
        """Joins and leaves are pushes like others."""
        numbered, named = RecordingSubscriber(), RecordingSubscriber()
        hub.add("news", numbered, NUMBERED)
        hub.add("news", named)
        for subscriber in (numbered, named):
            hub.watch("news", subscriber)
        info = ClientInfo(user="u", client="c")

        hub.announce("news", [Join(info=info), Leave(info=info)])

        said = {"info": {"user": "u", "client": "c"}}
        number = hub.number("news")
        assert pushes(numbered) == [{"id": number, "join": said}, {"id": number, "leave": said}]
        assert pushes(named) == [
            {"channel": "news", "join": said},
            {"channel": "news", "leave": said},
        ]


class TestPatches:
    """Protocol section 9: the first payload whole, the next as patches where that is shorter."""

    def test_first_is_whole_and_the_next_a_patch(self, hub: Hub) -> None:
        """For who has none yet; who has the one before is given a patch at once."""
        fresh, based, plain = [RecordingSubscriber() for _ in range(3)]
        hub.add("news", fresh, Delivery(delta=True))
        hub.add("news", based, Delivery(delta=True, based=True))
        hub.add("news", plain)

        for number in (2, 3):
            previous = publication(number - 1).data
            assert hub.broadcast("news", publication(number), previous) == 3

        assert [push["pub"].get("delta", False) for push in pushes(fresh)] == [False, True]
        assert [push["pub"].get("delta", False) for push in pushes(based)] == [True, True]
        assert [push["pub"]["data"] for push in pushes(plain)] == [json.loads(LONG)] * 2
        assert json.loads(pushes(fresh)[0]["pub"]["data"]) == json.loads(LONG)
        assert fresh.frames[1] is based.frames[1]

    def test_without_the_payload_before_all_are_given_the_whole(self, hub: Hub) -> None:
        """After a gap was filled; it is built once."""
        codec = CountingCodec()
        subscribers = [RecordingSubscriber(codec) for _ in range(4)]
        for number, subscriber in enumerate(subscribers):
            hub.add("news", subscriber, Delivery(delta=True, based=bool(number % 2)))

        hub.broadcast("news", publication(2))

        assert codec.encoded == 1
        assert not any("delta" in push["pub"] for one in subscribers for push in pushes(one))

    def test_payload_that_no_patch_shortens_is_whole(self, hub: Hub) -> None:
        """And without ``delta``."""
        subscriber = RecordingSubscriber()
        hub.add("news", subscriber, Delivery(delta=True, based=True))

        hub.broadcast("news", PUBLICATION, Raw(LONG))

        assert pushes(subscriber) == [{"channel": "news", "pub": {"data": '{"a":1}'}}]

    def test_one_that_is_ahead_is_not_based_on_what_it_was_not_given(self, hub: Hub) -> None:
        """It stays among those who wait for a whole payload."""
        subscriber = RecordingSubscriber()
        hub.add("news", subscriber, Delivery(delta=True), 2)

        for number in (1, 2, 3, 4):
            hub.broadcast("news", publication(number), publication(number - 1).data)

        assert [
            (push["pub"]["offset"], push["pub"].get("delta", False)) for push in pushes(subscriber)
        ] == [(3, False), (4, True)]
        assert not hub._ahead

    def test_what_is_no_json_refuses_json_subscribers(self, hub: Hub) -> None:
        """Whether they would be given a patch or not; Protobuf ones are told."""
        subscribers = [RecordingSubscriber(codec) for codec in (JSON, JSON, PROTOBUF)]
        for subscriber, based in zip(subscribers, (True, False, True), strict=True):
            hub.add("news", subscriber, Delivery(delta=True, based=based))

        assert hub.broadcast("news", Publication(data=Raw(b"\x00" * 99)), Raw(b"\x00" * 98)) == 1

        assert [one.refused for one in subscribers] == [[3506], [3506], []]

    def test_they_can_leave_in_any_state(self, hub: Hub) -> None:
        """Nothing remains."""
        fresh, based = RecordingSubscriber(), RecordingSubscriber()
        hub.add("news", based, Delivery(delta=True))
        hub.broadcast("news", publication(1))
        hub.add("news", fresh, Delivery(delta=True))

        assert not hub.remove("news", based)
        assert hub.remove("news", fresh)
        assert not hub._channels


class TestFilters:
    """Protocol section 10."""

    def test_only_wanted_publications_are_sent(self, hub: Hub) -> None:
        """In the frame that the others get."""
        chooser, other = RecordingSubscriber(), RecordingSubscriber()
        hub.add("news", chooser, Delivery(wants=lambda tags: "a" in tags))
        hub.add("news", other)

        assert hub.broadcast("news", publication(1)) == 1
        assert hub.broadcast("news", publication(2, tags={"a": ""})) == 2
        hub.remove("news", chooser)

        assert chooser.frames == other.frames[1:]
        assert not hub._filters


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
        st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 7)), max_size=60)
    )
    def test_it_is_a_set_of_pairs(self, steps: list[tuple[bool, str, int]]) -> None:
        """Against a model; and nothing is kept of what was removed."""
        hub = Hub()
        codecs = [CountingCodec(), CountingCodec()]
        subscribers = [RecordingSubscriber(codecs[number % 2]) for number in range(8)]
        told = (BY_NAME, NUMBERED, Delivery(delta=True), Delivery(delta=True, based=True))
        model: set[tuple[str, int]] = set()

        for add, channel, number in steps:
            if add:
                hub.add(channel, subscribers[number], told[number // 2])
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
                assert hub.count(name) == len(hub.subscribers(name)) == len(members)
                assert hub.broadcast(name, PUBLICATION) == len(members)
        for channel, number in model:
            hub.remove(channel, subscribers[number])

        assert not hub._channels
        assert hub.subscriptions == 0


class TestAnnounce:
    """Who comes and who goes, for those who watch."""

    CHANGES = (
        Join(info=ClientInfo(user="alice", client="c-1")),
        Leave(info=ClientInfo(user="bob", client="c-2")),
    )

    def test_watchers_are_told_in_order_and_in_one_piece(self, hub: Hub) -> None:
        """Others of the channel, and watchers of other channels, are not."""
        watcher, other, elsewhere = [RecordingSubscriber() for _ in range(3)]
        for channel, subscriber in (("a", watcher), ("a", other), ("b", elsewhere)):
            hub.add(channel, subscriber)
        hub.watch("a", watcher)
        hub.watch("b", elsewhere)

        hub.announce("a", self.CHANGES)

        join, leave = self.CHANGES
        assert watcher.frames == [
            JSON.encode(Reply(push=Push(channel="a", join=join)))
            + JSON.encode(Reply(push=Push(channel="a", leave=leave)))
        ]
        assert other.frames == elsewhere.frames == []

    def test_each_codec_encodes_once(self, hub: Hub) -> None:
        """However many watch."""
        codec = CountingCodec()
        peers = [RecordingSubscriber(codec) for _ in range(3)] + [RecordingSubscriber(PROTOBUF)]
        for peer in peers:
            hub.add("a", peer)
            hub.watch("a", peer)

        hub.announce("a", self.CHANGES)

        assert codec.encoded == 2
        assert [len(peer.frames) for peer in peers] == [1, 1, 1, 1]

    def test_who_has_left_watches_no_more(self, hub: Hub) -> None:
        """And nothing is kept of the last one."""
        one, other = RecordingSubscriber(), RecordingSubscriber()
        for peer in (one, other):
            hub.add("a", peer)
            hub.watch("a", peer)
        hub.remove("a", one)
        hub.announce("a", self.CHANGES)
        hub.remove("a", other)

        hub.announce("a", self.CHANGES)

        assert (len(one.frames), len(other.frames)) == (0, 1)
        assert not hub._watchers

    def test_one_who_does_not_watch_leaves_the_others_watching(self, hub: Hub) -> None:
        """Of his codec or of another."""
        watcher, plain, binary = (
            RecordingSubscriber(),
            RecordingSubscriber(),
            RecordingSubscriber(PROTOBUF),
        )
        for peer in (watcher, plain, binary):
            hub.add("a", peer)
        hub.watch("a", watcher)
        hub.remove("a", plain)
        hub.remove("a", binary)

        hub.announce("a", self.CHANGES)

        assert len(watcher.frames) == 1
