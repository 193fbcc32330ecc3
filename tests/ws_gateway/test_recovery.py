"""How a subscription begins, against a model of a client that reads replies."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.broker.base import POSITION_ONLY, History, HistoryFilter, Position
from ws_gateway.channel_options import ChannelOptions
from ws_gateway.delivery import Delivery
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.codec import JSON, PROTOBUF
from ws_gateway.protocol.messages import (
    ClientInfo,
    Publication,
    Reply,
    SubscribeRequest,
    SubscribeResult,
)
from ws_gateway.recovery import Live, Terms, agree, begin, fitting, measure, merge, needed

STREAM = Terms(recoverable=True, cache=False, auto=False)
CACHE = Terms(recoverable=True, cache=True, auto=False)
AUTO = Terms(recoverable=True, cache=True, auto=True)
POSITIONED = Terms(recoverable=False, cache=False, auto=False)


def publications(*offsets: int) -> tuple[Publication, ...]:
    """Return publications that are told apart by their offsets."""
    return tuple(Publication(data=Raw(b"%d" % offset), offset=offset) for offset in offsets)


def live(*offsets: int, epoch: str = "e") -> list[Live]:
    """Return what came meanwhile; a mark is ten times its offset."""
    return [Live(found, epoch, found.offset * 10) for found in publications(*offsets)]


def history(top: int, *offsets: int) -> History:
    """Return what was read."""
    return History(Position(top, "e", top * 10), publications(*offsets), top * 10)


def wish(offset: int, epoch: str = "e", flag: int = 0) -> SubscribeRequest:
    """Return a request to resume."""
    return SubscribeRequest(channel="c", recover=True, offset=offset, epoch=epoch, flag=flag)


class TestAgree:
    """Protocol section 7.2."""

    OPTIONS = {"history_size": 1, "history_ttl": 1}  # noqa: RUF012

    def test_channel_without_history_has_no_positions(self) -> None:
        """Whatever is asked for."""
        request = SubscribeRequest(recoverable=True, positioned=True)
        assert agree(ChannelOptions(), request, may_read=True) is None

    @pytest.mark.parametrize(
        ("options", "may_read", "wishes", "granted"),
        [
            ({}, False, {}, None),
            ({}, True, {}, None),
            ({}, False, {"recoverable": True, "positioned": True}, None),
            ({}, True, {"recoverable": True}, STREAM),
            ({}, True, {"positioned": True}, POSITIONED),
            ({"allow_recovery": True}, False, {"recoverable": True}, STREAM),
            ({"allow_recovery": True}, False, {"positioned": True}, None),
            ({"allow_positioning": True}, False, {"positioned": True}, POSITIONED),
            ({"force_positioning": True}, False, {}, POSITIONED),
            ({"force_recovery": True}, False, {}, STREAM),
            ({"force_recovery": True, "force_recovery_mode": "cache"}, False, {}, CACHE),
            ({"force_positioning": True, "force_recovery_mode": "cache"}, False, {}, POSITIONED),
        ],
    )
    def test_forced_or_wished_and_allowed(
        self,
        options: dict[str, bool],
        may_read: bool,
        wishes: dict[str, bool],
        granted: Terms | None,
    ) -> None:
        """Who may read the history may also have a position."""
        known = ChannelOptions(**self.OPTIONS, **options)  # type: ignore[arg-type]
        assert agree(known, msgspec.convert(wishes, SubscribeRequest), may_read=may_read) == granted

    @pytest.mark.parametrize(
        ("terms", "request_", "wanted"),
        [
            (STREAM, SubscribeRequest(), POSITION_ONLY),
            (STREAM, wish(7), HistoryFilter(limit=300, since=7)),
            (POSITIONED, wish(7), POSITION_ONLY),
            (CACHE, SubscribeRequest(), POSITION_ONLY),
            (CACHE, wish(7), HistoryFilter(limit=1, reverse=True)),
            (AUTO, SubscribeRequest(), HistoryFilter(limit=1, reverse=True)),
        ],
    )
    def test_only_what_is_needed_is_read(
        self, terms: Terms, request_: SubscribeRequest, wanted: HistoryFilter
    ) -> None:
        """A new subscription costs a position."""
        assert needed(terms, request_, 300) == wanted


class TestStream:
    """Protocol sections 8.1 and 8.2."""

    def test_new_subscription_is_told_the_top(self) -> None:
        """Nothing is recovered, and nothing was to be."""
        result, position = begin(STREAM, SubscribeRequest(), history(7), [])

        assert (result.offset, result.epoch, result.positioned) == (7, "e", True)
        assert (result.recoverable, result.was_recovering, result.recovered) == (True, False, False)
        assert position == Position(7, "e", 70)

    def test_what_came_meanwhile_counts_as_seen_by_a_new_one(self) -> None:
        """The reported offset is raised past it."""
        result, position = begin(STREAM, SubscribeRequest(), history(7), live(7, 8, 9))

        assert (result.offset, result.publications) == (9, ())
        assert position == Position(9, "e", 90)

    def test_missed_ones_come_with_the_requested_offset(self) -> None:
        """Protocol section 21, item 9."""
        result, position = begin(STREAM, wish(5), history(7, 6, 7), [])

        assert (result.recovered, result.was_recovering, result.offset) == (True, True, 5)
        assert [found.offset for found in result.publications] == [6, 7]
        assert position.offset == 7

    def test_nothing_missed_is_recovered(self) -> None:
        """An empty epoch matches any."""
        result, _ = begin(STREAM, wish(7, epoch=""), history(7), [])

        assert (result.recovered, result.publications, result.offset) == (True, (), 7)

    @pytest.mark.parametrize(
        ("request_", "read"),
        [
            (wish(7, epoch="other"), history(7)),
            (wish(0, epoch="_"), history(0)),
            (wish(8), history(7)),
            (wish(6), history(7)),
            (wish(4), history(7, 6, 7)),
            (wish(4), history(7, 5, 6)),
        ],
        ids=["epoch", "invalidated", "ahead", "forgotten", "trimmed", "over-the-limit"],
    )
    def test_what_cannot_be_resumed_says_so(
        self, request_: SubscribeRequest, read: History
    ) -> None:
        """The top, no publications; with bit 2 of the flag error 112."""
        result, position = begin(STREAM, request_, read, [])
        refused = SubscribeRequest(
            recover=True, offset=request_.offset, epoch=request_.epoch, flag=3
        )

        assert (result.recovered, result.was_recovering) == (False, True)
        assert (result.publications, result.offset) == ((), read.position.offset)
        assert position == read.position
        with pytest.raises(ReplyError) as caught:
            begin(STREAM, refused, read, [])
        assert caught.value.code == 112

    def test_hole_behind_the_history_is_3010(self) -> None:
        """Between what was read and what came live something is missing."""
        with pytest.raises(Disconnect) as caught:
            begin(STREAM, wish(5), history(7, 6, 7), live(9))
        assert caught.value.code == 3010

    def test_new_epoch_meanwhile_is_3010(self) -> None:
        """What was read is of a stream that is no more."""
        with pytest.raises(Disconnect) as caught:
            begin(STREAM, wish(5), history(7, 6, 7), live(1, epoch="f"))
        assert caught.value.code == 3010

    def test_what_came_of_the_epoch_before_is_dropped(self) -> None:
        """The read has found the new one."""
        result, position = begin(
            STREAM, SubscribeRequest(), history(7), [*live(9, epoch="d"), *live(8)]
        )

        assert result.offset == position.offset == 8

    def test_positioned_one_does_not_resume(self) -> None:
        """It did not ask for what it is not granted."""
        result, _ = begin(POSITIONED, wish(5, flag=2), history(7), [])

        assert (result.recoverable, result.positioned) == (False, True)
        assert (result.was_recovering, result.recovered, result.offset) == (False, False, 7)

    @given(
        st.tuples(st.integers(0, 12), st.integers(0, 12)),
        st.tuples(st.integers(0, 5), st.integers(0, 3)),
        st.integers(1, 12),
        st.integers(1, 12),
    )
    def test_client_ends_with_everything_or_knows(
        self, tops: tuple[int, int], around: tuple[int, int], size: int, limit: int
    ) -> None:
        """Whatever was kept, and whenever history was read in what goes on."""
        (read_at, seen), (overlap, later) = tops, around
        kept = range(max(1, read_at - size + 1), read_at + 1)
        found = [offset for offset in kept if offset > seen][:limit]
        came = range(max(1, read_at + 1 - overlap), read_at + 1 + later)

        result, position = begin(STREAM, wish(seen), history(read_at, *found), live(*came))

        got = [publication.offset for publication in result.publications]
        assert position.offset == read_at + later
        if result.recovered:
            assert [seen, *got][-1] == position.offset
            assert got == list(range(seen + 1, position.offset + 1))
        else:
            assert got == []
            assert result.offset == position.offset
            assert seen > read_at or read_at - seen > min(size, limit)


class TestCache:
    """Protocol section 8.3: only the latest matters."""

    @pytest.mark.parametrize("terms", [CACHE, AUTO])
    def test_latest_is_enough(self, terms: Terms) -> None:
        """However much was missed, and in whatever epoch."""
        result, _ = begin(terms, wish(1, epoch="other"), history(7, 7), [])

        assert (result.recovered, result.was_recovering) == (True, True)
        assert [found.offset for found in result.publications] == [7]

    def test_client_that_has_it_gets_nothing(self) -> None:
        """And is recovered."""
        result, _ = begin(CACHE, wish(7), history(7, 7), [])

        assert (result.recovered, result.publications) == (True, ())

    def test_latest_may_have_come_meanwhile(self) -> None:
        """A newer one than was read."""
        result, position = begin(CACHE, wish(7), history(7, 7), live(8, 9))

        assert [found.offset for found in result.publications] == [9]
        assert position == Position(9, "e", 90)

    def test_latest_that_is_gone_is_not_recovered(self) -> None:
        """Its time was over."""
        result, _ = begin(CACHE, wish(6), history(7), [])

        assert (result.recovered, result.was_recovering, result.offset) == (False, True, 7)

    def test_new_subscription_gets_it_only_automatically(self) -> None:
        """``auto_cache_recover``."""
        plain, _ = begin(CACHE, SubscribeRequest(), history(7, 7), [])
        automatic, _ = begin(AUTO, SubscribeRequest(), history(7, 7), [])
        empty, _ = begin(AUTO, SubscribeRequest(flag=2), history(0), [])

        assert (plain.was_recovering, plain.publications) == (False, ())
        assert automatic.was_recovering
        assert [found.offset for found in automatic.publications] == [7]
        assert (empty.was_recovering, empty.recovered) == (True, False)


class TestBounds:
    """One answer is a message that every SDK reads (protocol section 21, item 13)."""

    def test_more_than_fits_is_not_recovered(self) -> None:
        """The client is told, rather than given a part."""
        fits, _ = begin(STREAM, wish(5), history(7, 6, 7), [], max_bytes=500)
        too_much, position = begin(STREAM, wish(5), history(7, 6, 7), [], max_bytes=300)

        assert [found.offset for found in fits.publications] == [6, 7]
        assert (too_much.recovered, too_much.was_recovering) == (False, True)
        assert (too_much.publications, too_much.offset) == ((), 7)
        assert position == Position(7, "e", 70)

    def test_or_it_is_112(self) -> None:
        """Where the client wants no other subscription."""
        with pytest.raises(ReplyError) as caught:
            begin(STREAM, wish(5, flag=2), history(7, 6, 7), [], max_bytes=300)

        assert caught.value.code == 112

    @given(st.text(max_size=50), st.dictionaries(st.text(), st.text(), max_size=3), st.text())
    def test_measure_is_never_too_small(self, text: str, tags: dict[str, str], user: str) -> None:
        """In neither encoding, also where the payload stands in a string."""
        data = msgspec.json.encode({"text": text})
        info = ClientInfo(user=user, client="c" * 36, conn_info=Raw(b'{"name":"a"}'))
        publication = Publication(data=Raw(data), info=info, tags=tags, offset=2**64 - 1)

        for codec in (JSON, PROTOBUF):
            written = msgspec.structs.replace(publication, data=codec.delta_data(publication.data))
            result = SubscribeResult(publications=(written,))
            size = len(codec.encode(Reply(subscribe=result)))
            assert size - len(codec.encode(Reply(subscribe=SubscribeResult()))) <= measure(
                publication
            )

    def test_history_is_cut(self) -> None:
        """As many as fit, but one at least: the client goes on from the last."""
        large = Publication(data=Raw(b"x" * 400_000))

        assert fitting((large,) * 5) == (large,) * 2
        assert fitting(()) == ()
        assert len(fitting((Publication(data=Raw(b"x" * 2_000_000)), large))) == 1


class TestFilter:
    """Protocol section 10: what is filtered out moves the position all the same."""

    TOLD = Delivery(wants=lambda tags: "a" in tags)

    def test_only_wanted_ones_are_recovered(self) -> None:
        """In a stream that has no hole all the same."""
        past = tuple(
            msgspec.structs.replace(one, tags={"a": ""} if one.offset == 6 else None)
            for one in publications(5, 6, 7)
        )
        read = History(Position(7, "e", 70), past, 70)

        result, position = begin(STREAM, wish(4), read, [], told=self.TOLD)

        assert [found.offset for found in result.publications] == [6]
        assert (result.recovered, result.offset) == (True, 4)
        assert position.offset == 7

    def test_none_wanted_is_recovered_up_to_the_top(self) -> None:
        """There is nothing left to count from the old position."""
        result, _ = begin(STREAM, wish(5), history(7, 6, 7), live(8), told=self.TOLD)

        assert (result.recovered, result.publications, result.offset) == (True, (), 8)


class TestMerge:
    """In order, each once, or not at all."""

    @given(st.integers(0, 20), st.integers(0, 10), st.integers(0, 10), st.randoms())
    def test_overlap_is_taken_once(self, start: int, read: int, fresh: int, random: object) -> None:
        """Against a range of numbers."""
        top = start + read
        recovered = publications(*range(start + 1, top + 1))
        newer = list(publications(*range(max(start + 1, top - 2), top + fresh + 1)))
        random.shuffle(newer)  # type: ignore[attr-defined]

        merged = merge(recovered, newer)

        assert [found.offset for found in merged] == list(range(start + 1, top + fresh + 1))

    def test_hole_is_3010(self) -> None:
        """Wherever it is."""
        with pytest.raises(Disconnect) as caught:
            merge(publications(1, 2), list(publications(4)))
        assert caught.value.code == 3010
