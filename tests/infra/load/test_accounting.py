"""Who was owed what, and whether it came."""

from __future__ import annotations

from infra.load.accounting import Publication, Room, Stay

ALICE, BOB = 0, 1


def publish(room: Room, sender: int, at: float, *, confirmed: float | None) -> Publication:
    """Say something that is confirmed at a time, or never."""
    publication = room.publish(sender, at)
    publication.confirmed_at = confirmed
    return publication


def test_what_came_is_not_lost() -> None:
    """The usual case: two senders, each with numbers of its own."""
    room, stay = Room(), Stay(since=10)
    for sender, at in ((ALICE, 11), (BOB, 12), (ALICE, 13)):
        stay.receive(sender, publish(room, sender, at, confirmed=at + 0.1).sequence)

    balance = room.balance(stay, left_at=20, settle_seconds=2)

    assert (balance.owed, balance.lost) == (3, [])


def test_a_gap_is_lost() -> None:
    """Whoever was there before and after had to get it."""
    room, stay = Room(), Stay(since=10)
    for at in (11, 12, 13):
        publish(room, ALICE, at, confirmed=at + 0.1)
    stay.receive(ALICE, 0)
    stay.receive(ALICE, 2)

    balance = room.balance(stay, left_at=20, settle_seconds=2)

    assert (balance.owed, balance.lost) == (3, [(ALICE, 1)])


def test_the_last_message_and_a_silent_sender_are_missed_too() -> None:
    """Gaps alone would not show what comes after all, or of whom nothing came."""
    room, stay = Room(), Stay(since=10)
    publish(room, ALICE, 11, confirmed=11.1)
    publish(room, ALICE, 12, confirmed=12.1)
    publish(room, BOB, 12, confirmed=12.1)
    stay.receive(ALICE, 0)

    balance = room.balance(stay, left_at=20, settle_seconds=2)

    assert balance.lost == [(ALICE, 1), (BOB, 0)]


def test_what_was_sent_before_the_subscription_was_confirmed_is_not_owed() -> None:
    """It may come, and need not."""
    room, stay = Room(), Stay(since=10)
    publish(room, ALICE, 9.9, confirmed=10.1)

    assert room.balance(stay, left_at=20, settle_seconds=2).owed == 0


def test_what_was_confirmed_just_before_the_end_is_not_owed() -> None:
    """It may be on its way."""
    room, stay = Room(), Stay(since=10)
    publish(room, ALICE, 17.9, confirmed=18.1)
    publish(room, ALICE, 17.8, confirmed=18)

    assert room.balance(stay, left_at=20, settle_seconds=2).lost == [(ALICE, 1)]


def test_what_was_never_confirmed_is_not_owed() -> None:
    """The sender knows that it may have failed."""
    room, stay = Room(), Stay(since=10)
    publish(room, ALICE, 11, confirmed=None)

    assert room.balance(stay, left_at=20, settle_seconds=2).owed == 0


def test_a_second_stay_owes_nothing_of_the_time_between() -> None:
    """Numbers go on while somebody is away."""
    room = Room()
    publish(room, ALICE, 11, confirmed=11.1)
    again = Stay(since=12)
    again.receive(ALICE, publish(room, ALICE, 13, confirmed=13.1).sequence)

    balance = room.balance(again, left_at=20, settle_seconds=2)

    assert (balance.owed, balance.lost) == (1, [])


def test_what_comes_twice_is_counted() -> None:
    """Once is promised, and no more."""
    stay = Stay(since=0)
    for sequence in (0, 1, 1, 0):
        stay.receive(ALICE, sequence)

    assert (stay.duplicates, stay.reordered) == (2, 0)


def test_what_comes_late_is_counted() -> None:
    """One sender's messages stay in order; those of two have none."""
    stay = Stay(since=0)
    for sender, sequence in ((ALICE, 0), (ALICE, 2), (BOB, 0), (ALICE, 1), (BOB, 1)):
        stay.receive(sender, sequence)

    assert (stay.duplicates, stay.reordered) == (0, 1)
    assert stay.has(ALICE, 1)
    assert not stay.has(ALICE, 3)
