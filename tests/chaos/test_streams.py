"""The order of publications, judged on histories that are a few lines long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.circumstances import Circumstances
from tests.chaos.history import (
    Answered,
    Connected,
    Down,
    End,
    Event,
    Fault,
    Kept,
    Received,
    Sent,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.schedule import Kind
from tests.chaos.streams import check_streams
from tests.chaos.verdict import Verdict

CHANNEL = "kept:1"


class Story:
    """Writes a history, one second after the other."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._at = 0.0

    def now(self) -> float:
        """Return the next moment."""
        self._at += 1
        return self._at

    def subscribe(
        self, client: str, offset: int, *, epoch: str = "e", recovered: bool | None = None
    ) -> None:
        """Begin a subscription, or resume one, or be told that this is not possible."""
        asked, yes = recovered is not None, bool(recovered)
        self.events.append(Subscribed(self.now(), client, CHANNEL, epoch, offset, asked, yes))

    def receive(self, client: str, *offsets: int, word: str = "p") -> None:
        """Receive publications whose names are their offsets."""
        for offset in offsets:
            now = self.now()
            self.events.append(Received(now, client, CHANNEL, offset, f"{word}{offset}", now))

    def publish(self, name: str, code: int = 0) -> None:
        """Publish, and be answered."""
        self.events.append(Sent(self.now(), "speaker", CHANNEL, name))
        self.events.append(Answered(self.now(), "speaker", name, code))

    def keep(self, *entries: tuple[int, str]) -> None:
        """Find this in Redis."""
        self.events.append(Kept(self.now(), CHANNEL, entries))

    def fault(self, kind: Kind) -> None:
        """Have a fault."""
        began = self.now()
        self.events.append(Fault(began, self.now(), self.now(), kind.value))

    def end(self, name: str) -> None:
        """Say the last word."""
        self.events.append(End(self.now(), CHANNEL, name))

    def judge(self) -> Verdict:
        """Check it."""
        self.events.sort(key=lambda event: event.at)
        return check_streams(self.events, Circumstances(self.events))


@pytest.fixture
def story() -> Story:
    """An empty history."""
    return Story()


def test_who_is_told_of_a_gap_may_miss_the_last_word(story: Story) -> None:
    """If it is before the place where he goes on; what comes behind it is to come."""
    for client, top in (("a", 8), ("b", 6)):
        story.subscribe(client, 3)
        story.subscribe(client, top, recovered=False)
    story.keep((6, "before"), (7, "last"))
    story.end("last")

    found = story.judge().violations

    assert [
        (violation.rule, violation.client) for violation in found if "came" in violation.text
    ] == [("silence", "b")]


def lost_at(story: Story, *more: Event) -> list[str]:
    """Have one client resume on a stream whose tail was lost, and another that was told so."""
    for client, gateway in (("a", "gateway-0"), ("b", "gateway-0")):
        story.events.append(Connected(story.now(), client, gateway))
        story.subscribe(client, 3)
        story.receive(client, 4, 5)
    story.fault(Kind.REDIS_TAIL)
    story.subscribe("b", 4, recovered=False)
    story.receive("b", 5, 6, word="q")
    story.subscribe("a", 6, recovered=True)
    story.receive("a", 6, word="q")
    story.events += more
    return [violation.rule for violation in story.judge().violations]


def test_a_lost_tail_that_a_gateway_knew_of_is_told(story: Story) -> None:
    """Whoever is not is on another stream without knowing it."""
    assert lost_at(story) == ["lost tail"]


@pytest.mark.parametrize("down", [True, False], ids=["ended", "paused"])
def test_a_lost_tail_that_nobody_knows_of_is_not_told(story: Story, down: bool) -> None:
    """ADR 0012: every gateway that had heard of it has ended; one that stood still comes back."""
    kind = Kind.GATEWAY_TERM if down else Kind.GATEWAY_PAUSE

    found = lost_at(story, Down(9.5, "gateway-0", 11.5, kind.value))

    assert found == ([] if down else ["lost tail"])


@pytest.mark.parametrize(
    ("began", "ended", "told"), [(8.2, 8.8, False), (5.2, 7.8, True), (15.5, 15.8, True)]
)
def test_who_has_heard_of_a_tail_and_ended_does_not_know_of_it(
    story: Story, began: float, ended: float, *, told: bool
) -> None:
    """Also if that was before Redis lost it; not if it was before the last of it was heard.

    Nor if there was time to reach Redis before.
    """
    down = Down(began, "gateway-0", ended, Kind.GATEWAY_TERM.value)

    assert lost_at(story, down) == (["lost tail"] if told else [])


def rules(story: Story) -> Sequence[str]:
    """Return what was broken."""
    return [violation.rule for violation in story.judge().violations]


def test_all_in_order_is_right(story: Story) -> None:
    """Live, resumed, and live again."""
    story.subscribe("a", 3)
    story.receive("a", 4, 5)
    story.subscribe("a", 7, recovered=True)
    story.receive("a", 6, 7, 8)

    verdict = story.judge()

    assert verdict.violations == []
    assert verdict.counts["deliveries"] == 5
    assert verdict.counts["subscriptions resumed"] == 1


def test_a_publication_that_is_missing_is_silence(story: Story) -> None:
    """Nobody said so."""
    story.subscribe("a", 3)
    story.receive("a", 4, 6)

    assert rules(story) == ["silence"]


def test_one_that_is_missing_after_a_resumption_is_silence(story: Story) -> None:
    """The answer said that it had recovered all."""
    story.subscribe("a", 3)
    story.subscribe("a", 6, recovered=True)
    story.receive("a", 5, 6)

    assert rules(story) == ["silence"]


def test_one_that_is_missing_at_the_end_of_a_resumption_is_silence(story: Story) -> None:
    """Seen as soon as the next one comes."""
    story.subscribe("a", 3)
    story.subscribe("a", 6, recovered=True)
    story.receive("a", 4, 5, 7)

    assert rules(story) == ["silence"]


def test_who_was_told_of_a_gap_begins_anew(story: Story) -> None:
    """After Redis had lost data."""
    story.subscribe("a", 3)
    story.receive("a", 4)
    story.fault(Kind.REDIS_TAIL)
    story.events.append(Unsubscribed(story.now(), "a", CHANNEL, 2500))
    story.subscribe("a", 3, epoch="f", recovered=False)
    story.receive("a", 4, 5, word="new")

    verdict = story.judge()

    assert verdict.violations == []
    assert verdict.counts["told of a gap"] == 1


def test_a_gap_that_there_was_not_is_wrong(story: Story) -> None:
    """Redis had lost nothing."""
    story.subscribe("a", 3)
    story.receive("a", 4)
    story.subscribe("a", 6, recovered=False)

    assert rules(story) == ["told without cause"]


def test_a_swapped_pair_is_found(story: Story) -> None:
    """The later one looks like a gap, the earlier one like an old one."""
    story.subscribe("a", 3)
    story.receive("a", 5, 4, 6)

    assert rules(story) == ["silence", "order"]


def test_contents_that_are_swapped_are_found(story: Story) -> None:
    """The offsets are in order; the witness has the others."""
    for client in ("a", "b"):
        story.subscribe(client, 3)
    story.receive("a", 4, 5, 6)
    story.receive("b", 4)
    for offset, name in ((5, "p6"), (6, "p5")):
        now = story.now()
        story.events.append(Received(now, "b", CHANNEL, offset, name, now))

    assert {"lost tail", "once"} & set(rules(story))


def test_what_comes_twice_is_found(story: Story) -> None:
    """With the same offset."""
    story.subscribe("a", 3)
    story.receive("a", 4, 5, 5, 6)

    assert rules(story) == ["once"]


def test_what_was_published_twice_is_found(story: Story) -> None:
    """With offsets of their own, as after a blind retry."""
    story.subscribe("a", 3)
    story.receive("a", 4)
    now = story.now()
    story.events.append(Received(now, "a", CHANNEL, 5, "p4", now))

    assert set(rules(story)) == {"once"}


def test_a_lost_tail_that_has_grown_again_is_found(story: Story) -> None:
    """One saw what was lost, and goes on as if the new publications came after it."""
    story.subscribe("a", 3)
    story.receive("a", 4, 5)
    story.fault(Kind.REDIS_TAIL)
    story.keep((3, "p3"), (4, "new4"), (5, "new5"), (6, "p6"))
    story.receive("a", 6)

    assert rules(story) == ["lost tail"]


def test_a_lost_tail_that_was_told_of_is_none(story: Story) -> None:
    """The same, but for the telling."""
    story.subscribe("a", 3)
    story.receive("a", 4, 5)
    story.fault(Kind.REDIS_TAIL)
    story.keep((3, "p3"), (4, "new4"), (5, "new5"), (6, "p6"))
    story.subscribe("a", 5, epoch="f", recovered=False)
    story.receive("a", 6)

    assert rules(story) == []


def test_a_resumption_in_another_epoch_is_wrong(story: Story) -> None:
    """A position of one epoch says nothing in another."""
    story.subscribe("a", 3)
    story.subscribe("a", 3, epoch="f", recovered=True)

    assert rules(story) == ["lost tail"]


def test_a_resumption_below_the_position_is_wrong(story: Story) -> None:
    """A tail was lost, and taken for silence."""
    story.subscribe("a", 7)
    story.subscribe("a", 3, recovered=True)

    assert rules(story) == ["lost tail"]


def test_what_was_acknowledged_is_somewhere(story: Story) -> None:
    """At a client, or in Redis."""
    story.subscribe("a", 3)
    story.publish("p4")
    story.publish("p5")
    story.receive("a", 4)
    story.keep((4, "p4"), (5, "p5"))

    assert rules(story) == []


def test_what_was_acknowledged_and_is_nowhere_is_lost(story: Story) -> None:
    """One that was refused may be anywhere."""
    story.subscribe("a", 3)
    story.publish("p4")
    story.publish("p5", 100)

    assert rules(story) == ["acknowledged"]


def short(story: Story, *names: str) -> list[str]:
    """Acknowledge some in a channel that keeps two, with looks at 1 and 2 and at 7 and 8 of it."""
    channel = "short:1"
    story.events.append(Kept(story.now(), channel, ((1, "p1"), (2, "p2"))))
    story.events.append(Subscribed(story.now(), "a", channel, "e", 2, False, False))
    for name in names:
        story.events.append(Sent(story.now(), "speaker", channel, name))
        story.events.append(Answered(story.now(), "speaker", name, 0))
    story.events.append(Received(story.now(), "a", channel, 3, "p3", 0.0))
    story.events.append(Kept(story.now(), channel, ((7, "p7"), (8, "p8"))))
    return [violation.text.split()[0] for violation in story.judge().violations]


def test_what_a_short_history_pushed_out_unseen_is_counted_apart(story: Story) -> None:
    """There is room for 4, 5 and 6 between the looks, for somebody had 3."""
    assert short(story, "x", "y", "z") == []


def test_there_is_no_room_for_more_than_the_offsets_between(story: Story) -> None:
    """The fourth was acknowledged, and never appended."""
    assert short(story, "w", "x", "y", "z") == ["z"]


def test_there_is_no_room_between_looks_that_join(story: Story) -> None:
    """One entry is in both: what is not, was not there."""
    channel = "short:1"
    story.events.append(Kept(story.now(), channel, ((1, "p1"), (2, "p2"))))
    story.events.append(Sent(story.now(), "speaker", channel, "x"))
    story.events.append(Answered(story.now(), "speaker", "x", 0))
    story.events.append(Kept(story.now(), channel, ((2, "p2"), (3, "p3"))))

    assert rules(story) == ["acknowledged"]


def test_long_histories_have_no_such_room(story: Story) -> None:
    """They are longer than what is said between two looks."""
    story.keep((1, "p1"), (2, "p2"))
    story.publish("x")
    story.keep((7, "p7"), (8, "p8"))

    assert rules(story) == ["acknowledged"]


def test_what_redis_has_lost_is_counted_apart(story: Story) -> None:
    """Only what was acknowledged before."""
    story.publish("p4")
    story.fault(Kind.REDIS_EMPTY)
    story.publish("p5")

    verdict = story.judge()

    assert [violation.text.split()[0] for violation in verdict.violations] == ["p5"]
    assert verdict.counts["acknowledged, and lost with Redis' data"] == 1


def test_who_does_not_hear_the_last_word_was_left_in_silence(story: Story) -> None:
    """There is no later publication that would show the gap."""
    for client in ("a", "b", "victim-1-bare"):
        story.subscribe(client, 3)
    story.receive("a", 4)
    story.end("p4")

    (violation,) = story.judge().violations

    assert (violation.rule, violation.client) == ("silence", "b")
