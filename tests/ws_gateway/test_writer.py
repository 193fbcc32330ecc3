"""Frames leave joined, once per turn of the loop, in order; what is not taken is bounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from tests.ws_gateway.conftest import RecordingTransport
from ws_gateway.group import Group
from ws_gateway.writer import Flusher, SlowReason, WriteLimits, Writer

LIMITS = WriteLimits(max_queue_bytes=100, max_stall_seconds=5)


class Turns:
    """An event loop of which only ``call_soon`` is needed."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.calls = 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See AbstractEventLoop."""
        self.calls += 1
        self.callbacks.append(callback)

    def turn(self) -> None:
        """Run what is ready now, not what that makes ready."""
        ready, self.callbacks = self.callbacks, []
        for callback in ready:
            callback()


class RecordingWriter(Writer):
    """Notes when it was found slow."""

    __slots__ = ("cut", "recording", "spared")

    def __init__(self, flusher: Flusher) -> None:
        self.recording = RecordingTransport()
        super().__init__(self.recording, flusher, LIMITS)
        self.cut: list[SlowReason] = []
        self.spared = False

    @override
    def slow(self, reason: SlowReason) -> bool:
        self.cut.append(reason)
        return self.spared

    @property
    def writes(self) -> list[bytes]:
        """What the transport was given."""
        return self.recording.writes


@pytest.fixture
def turns() -> Turns:
    """A loop."""
    return Turns()


@pytest.fixture
def flusher(turns: Turns) -> Flusher:
    """The process's."""
    return Flusher(turns.call_soon)


@pytest.fixture
def writer(flusher: Flusher) -> RecordingWriter:
    """One connection's."""
    return RecordingWriter(flusher)


class TestJoining:
    """The only large lever on the cost of a delivery (design section 5)."""

    def test_nothing_is_written_before_the_turn_ends(
        self, writer: RecordingWriter, turns: Turns
    ) -> None:
        """More may come."""
        writer.send(b"a")
        assert writer.writes == []

        turns.turn()

        assert writer.writes == [b"a"]

    @pytest.mark.parametrize("count", [1, 2, 3, 100])
    def test_frames_of_one_turn_are_one_write_in_order(
        self, writer: RecordingWriter, turns: Turns, count: int
    ) -> None:
        """As they were queued."""
        frames = [b"%d;" % number for number in range(count)]
        for frame in frames:
            writer.send(frame)

        turns.turn()

        assert writer.writes == [b"".join(frames)]

    def test_frames_of_two_turns_are_two_writes(
        self, writer: RecordingWriter, turns: Turns
    ) -> None:
        """Nothing is held back for company."""
        for frame in (b"a", b"b"):
            writer.send(frame)
            turns.turn()

        assert writer.writes == [b"a", b"b"]

    def test_frame_queued_while_flushing_waits_a_turn(
        self, flusher: Flusher, turns: Turns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A writer that answers a write does not keep the loop."""
        writer, other = RecordingWriter(flusher), RecordingWriter(flusher)
        monkeypatch.setattr(other.recording, "write", lambda _data: writer.send(b"answer"))
        other.send(b"a")

        turns.turn()
        assert writer.writes == []
        turns.turn()
        assert writer.writes == [b"answer"]

    def test_frame_for_many_is_what_sending_it_to_each_would_be(
        self, flusher: Flusher, turns: Turns
    ) -> None:
        """Behind what waits, in one turn, and by the writer's own ``send`` where it has one."""

        class Shouting(RecordingWriter):
            takes_as_is = False

            @override
            def send(self, frame: bytes) -> None:
                super().send(frame.upper())

        plain, busy, busier, own = (
            RecordingWriter(flusher),
            RecordingWriter(flusher),
            RecordingWriter(flusher),
            Shouting(flusher),
        )
        busy.send(b"1")
        busier.send(b"1")
        busier.send(b"2")

        flusher.spread(b"a", [plain, busy, busier, own])
        turns.turn()

        assert [one.writes for one in (plain, busy, busier, own)] == [
            [b"a"],
            [b"1a"],
            [b"12a"],
            [b"A"],
        ]
        assert turns.calls == 1

    @pytest.mark.parametrize("first", [0, 1])
    def test_frame_for_many_is_flushed_once(
        self, flusher: Flusher, turns: Turns, first: int
    ) -> None:
        """Whoever comes first, and nothing is planned for nobody."""

        class Own(RecordingWriter):
            takes_as_is = False

        writers = [RecordingWriter(flusher), Own(flusher)]
        flusher.spread(b"a", [])
        assert turns.calls == 0

        flusher.spread(b"a", [writers[first], writers[not first]])
        turns.turn()

        assert [one.writes for one in writers] == [[b"a"], [b"a"]]
        assert turns.calls == 1

    def test_one_callback_serves_all_writers_of_a_turn(
        self, flusher: Flusher, turns: Turns
    ) -> None:
        """However many connections and frames."""
        writers = [RecordingWriter(flusher) for _ in range(50)]
        for writer in writers * 3:
            writer.send(b"x")

        turns.turn()

        assert turns.calls == 1
        assert all(writer.writes == [b"xxx"] for writer in writers)
        turns.turn()
        assert turns.calls == 1

    def test_flush_writes_at_once(self, writer: RecordingWriter, turns: Turns) -> None:
        """Before a close frame; the turn's end finds nothing left."""
        writer.send(b"a")
        writer.send(b"b")

        assert writer.flush()
        turns.turn()

        assert writer.writes == [b"ab"]

    def test_flush_of_nothing_writes_nothing(self, writer: RecordingWriter) -> None:
        """Not even an empty write."""
        assert writer.flush()
        assert writer.writes == []

    def test_discarded_frames_are_not_written(self, writer: RecordingWriter, turns: Turns) -> None:
        """The socket is gone; the writer can still be used by the turn's end."""
        writer.send(b"a")
        writer.send(b"b")

        writer.discard()
        turns.turn()

        assert writer.writes == []

    def test_frame_after_a_discard_is_written_once(
        self, writer: RecordingWriter, turns: Turns
    ) -> None:
        """Although the writer is then listed twice."""
        writer.send(b"a")
        writer.discard()
        writer.send(b"b")

        turns.turn()

        assert writer.writes == [b"b"]


CROWD = 20


def gather(writers: list[RecordingWriter]) -> Group[RecordingWriter]:
    """Put writers into one group."""
    group: Group[RecordingWriter] = Group()
    for writer in writers:
        group.add(writer)
    return group


class TestCrowd:
    """A frame for a large group is queued once, and not with each of it."""

    @pytest.fixture
    def crowd(self, flusher: Flusher) -> list[RecordingWriter]:
        """Enough for that."""
        return [RecordingWriter(flusher) for _ in range(CROWD)]

    def test_everybody_is_written_to_in_one_turn(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """Frames that are ready together in one write, again and again."""
        group = gather(crowd)
        for frames in ([b"a"], [b"b", b"c", b"d"], [b"e"]):
            for frame in frames:
                flusher.spread(frame, group)
            turns.turn()

        assert all(writer.writes == [b"a", b"bcd", b"e"] for writer in crowd)
        assert turns.calls == 3
        assert flusher.bytes == 5 * CROWD
        assert all(writer.pending is None for writer in crowd)

    def test_what_waits_for_one_leaves_before_it(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """The answer to a subscribe command, say."""
        group = gather(crowd)
        crowd[3].send(b"1")
        for frame in (b"a", b"b"):
            flusher.spread(frame, group)
        crowd[3].send(b"2")
        turns.turn()

        assert crowd[3].writes == [b"1ab2"]
        assert all(writer.writes == [b"ab"] for writer in crowd if writer is not crowd[3])
        assert flusher.bytes == 2 * CROWD + 2

    def test_what_one_is_sent_alone_leaves_behind_it(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """The answer to the publication itself."""
        group = gather(crowd)
        flusher.spread(b"a", group)
        crowd[3].send(b"1")
        turns.turn()

        assert crowd[3].writes == [b"a1"]
        assert all(writer.writes == [b"a"] for writer in crowd if writer is not crowd[3])
        assert flusher.bytes == CROWD + 1

    def test_who_ends_has_it_before_the_end(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """And after a discard not at all; the others have it once."""
        group = gather(crowd)
        flusher.spread(b"a", group)
        crowd[0].send(b"1")
        assert crowd[0].flush()
        crowd[0].discard()
        crowd[1].discard()
        flusher.spread(b"b", gather(crowd[2:]))
        turns.turn()

        assert crowd[0].writes == [b"a1"]
        assert crowd[1].writes == []
        assert all(writer.writes == [b"ab"] for writer in crowd[2:])

    def test_who_comes_later_has_only_what_comes_later(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """Within one turn too."""
        group = gather(crowd)
        late = RecordingWriter(flusher)
        flusher.spread(b"a", group)
        late.send(b"1")
        group.add(late)
        group.remove(crowd[0])
        flusher.spread(b"b", group)
        turns.turn()

        assert late.writes == [b"1b"]
        assert crowd[0].writes == [b"a"]
        assert all(writer.writes == [b"ab"] for writer in crowd[1:])

    def test_one_that_writes_in_a_way_of_its_own_is_asked_to(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """One whose messages are compressed."""

        class Shouting(RecordingWriter):
            takes_as_is = False

            @override
            def send(self, frame: bytes) -> None:
                super().send(frame.upper())

        own = Shouting(flusher)
        group = gather([*crowd, own])
        for _ in range(2):
            flusher.spread(b"a", group)
            turns.turn()

        assert own.writes == [b"A", b"A"]
        assert all(writer.writes == [b"a", b"a"] for writer in crowd)

    def test_reader_that_lags_is_looked_at(
        self, flusher: Flusher, turns: Turns, crowd: list[RecordingWriter]
    ) -> None:
        """Only that one; and never again once it reads, or is gone."""
        group = gather(crowd)
        for writer in crowd:
            writer.recording.unread = 101
        for slow in crowd[:3]:
            slow.stall(1.0)
        crowd[1].read_on()
        crowd[2].discard()
        flusher.spread(b"a", group)
        turns.turn()

        assert [bool(writer.cut) for writer in crowd] == [True] + [False] * (CROWD - 1)
        assert flusher.stalled == {crowd[0]}

    def test_one_that_fails_keeps_nobody_else_waiting(
        self,
        flusher: Flusher,
        turns: Turns,
        crowd: list[RecordingWriter],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Wherever it is in the group; what one is sent alone leaves too."""
        group = gather(crowd)

        def fail(_data: bytes) -> None:
            raise RuntimeError("broken")

        for broken in crowd[:2]:
            broken.recording.write = fail  # type: ignore[method-assign, assignment]
        flusher.spread(b"a", group)
        crowd[5].send(b"1")
        turns.turn()

        assert [writer.writes for writer in crowd[2:5]] == [[b"a"]] * 3
        assert crowd[5].writes == [b"a1"]
        assert [record.getMessage() for record in caplog.records] == ["flush failed"] * 2

    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(st.sampled_from(["send", "flush", "move"]), st.integers(0, CROWD - 1)),
                st.tuples(st.sampled_from(["spread", "turn"]), st.integers(0, 1)),
            ),
            max_size=40,
        )
    )
    def test_whatever_happens_each_has_all_of_it_in_order(
        self, steps: list[tuple[str, int]]
    ) -> None:
        """What goes to its group in one order, and what goes to it alone behind what was before."""
        turns = Turns()
        flusher = Flusher(turns.call_soon)
        crowd = [RecordingWriter(flusher) for _ in range(CROWD)]
        groups = [gather(crowd), gather([])]
        meant: dict[RecordingWriter, list[bytes]] = {writer: [] for writer in crowd}
        for number, (step, which) in enumerate(steps):
            writer = crowd[which]
            if step == "send":
                writer.send(b"s%d;" % number)
                meant[writer].append(b"s%d" % number)
            elif step == "flush":
                assert writer.flush()
            elif step == "move":
                here = int(writer in groups[1])
                groups[here].remove(writer)
                groups[not here].add(writer)
            elif step == "turn":
                turns.turn()
            else:
                flusher.spread(b"g%d;" % number, groups[which])
                for one in groups[which]:
                    meant[one].append(b"g%d" % number)
        turns.turn()

        for writer, frames in meant.items():
            came = b"".join(writer.writes).split(b";")[:-1]
            assert sorted(came) == sorted(frames)
            for kind in (b"g", b"s"):
                assert [one for one in came if one.startswith(kind)] == [
                    one for one in frames if one.startswith(kind)
                ]
            for place, frame in enumerate(frames):
                if frame.startswith(b"s"):
                    assert set(frames[:place]) <= set(came[: came.index(frame)])


class TestSlowReader:
    """Promise 3: a bounded number of bytes, and never another's delay."""

    def test_reader_that_keeps_up_is_not_asked(self, writer: RecordingWriter, turns: Turns) -> None:
        """One large write is no lag."""
        writer.recording.unread = 1_000_000
        writer.send(b"a")

        turns.turn()

        assert writer.cut == []

    @pytest.mark.parametrize(("unread", "cut"), [(100, []), (101, [SlowReason.BYTES])])
    def test_reader_that_lags_has_a_limit_in_bytes(
        self, writer: RecordingWriter, turns: Turns, unread: int, cut: list[SlowReason]
    ) -> None:
        """What the kernel has not taken."""
        writer.stalled_since = 1.0
        writer.recording.unread = unread
        writer.send(b"a")

        turns.turn()

        assert writer.cut == cut
        assert writer.writes == [b"a"]

    def test_flush_says_whether_it_was_cut(self, writer: RecordingWriter) -> None:
        """Then no close frame can follow."""
        writer.stalled_since = 1.0
        writer.recording.unread = 101
        writer.send(b"a")

        assert not writer.flush()

    def test_others_are_written_in_the_same_turn(self, flusher: Flusher, turns: Turns) -> None:
        """Before and behind it in the list."""
        writers = [RecordingWriter(flusher) for _ in range(3)]
        writers[1].stalled_since = 1.0
        writers[1].recording.unread = 101
        for writer in writers:
            writer.send(b"a")

        turns.turn()

        assert [writer.writes for writer in writers] == [[b"a"]] * 3
        assert [writer.cut for writer in writers] == [[], [SlowReason.BYTES], []]

    def test_plain_writer_leaves_the_answer_to_the_connection(self, flusher: Flusher) -> None:
        """It knows no code to close with."""
        writer = Writer(RecordingTransport(), flusher, LIMITS)

        with pytest.raises(NotImplementedError):
            writer.slow(SlowReason.STALL)


class TestCounting:
    """What the numbers of a process are made of."""

    def test_bytes_and_the_end_of_a_turn_are_told(self, turns: Turns) -> None:
        """After the writes, once for all of them."""
        seen: list[list[bytes]] = []
        flusher = Flusher(turns.call_soon, written=lambda: seen.append(list(one.writes)))
        one, other = RecordingWriter(flusher), RecordingWriter(flusher)
        for frame in (b"a", b"bc"):
            one.send(frame)
        other.send(b"d")

        turns.turn()

        assert seen == [[b"abc"]]
        assert flusher.bytes == 4

    def test_some_turns_are_looked_at(self, turns: Turns) -> None:
        """How many frames leave together, without counting them all the time."""
        depths: list[int] = []
        flusher = Flusher(turns.call_soon, look=depths.append)
        writer = RecordingWriter(flusher)
        for count in range(1, 33):
            for _ in range(count):
                writer.send(b"a")
            turns.turn()

        assert depths == [16, 32]
        assert writer.depth == 0


def test_a_flush_that_fails_keeps_nobody_else_waiting(
    turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    """Those behind it in the turn count as queued: they would be silent for good."""
    flusher = Flusher(turns.call_soon)
    broken, good = RecordingWriter(flusher), RecordingWriter(flusher)

    def fail(_data: bytes) -> None:
        raise RuntimeError("broken")

    broken.recording.write = fail  # type: ignore[method-assign, assignment]
    broken.send(b"a")
    good.send(b"b")
    turns.turn()

    assert good.writes == [b"b"]
    assert [record.getMessage() for record in caplog.records] == ["flush failed"]
