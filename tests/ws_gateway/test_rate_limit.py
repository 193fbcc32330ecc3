"""The pace of a connection, and of a user."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from ws_gateway.rate_limit import UNLIMITED, Bucket, Rate, UserBuckets, Verdict

TEN = Rate(per_second=10, burst=5)


def send(bucket: Bucket, count: int, now: float) -> Counter[Verdict]:
    """Send so many at once."""
    return Counter(bucket.take(now) for _ in range(count))


class TestBucket:
    """One sender."""

    def test_burst_goes_on_and_the_next_is_refused(self) -> None:
        """As many at once as the burst; after as many again it is closed."""
        bucket = Bucket(TEN)

        assert send(bucket, 5, 100.0) == {Verdict.GO_ON: 5}
        assert send(bucket, 5, 100.0) == {Verdict.REFUSE: 5}
        assert bucket.take(100.0) is Verdict.CLOSE

    def test_pace_is_never_refused(self) -> None:
        """For hours, also after a burst."""
        bucket = Bucket(TEN)
        send(bucket, 5, 0.0)

        assert {bucket.take(0.1 * step) for step in range(1, 100_000)} == {Verdict.GO_ON}

    def test_twice_the_pace_ends_in_a_close(self) -> None:
        """First refused, then closed: it does not alternate for ever."""
        bucket = Bucket(TEN)

        verdicts = [bucket.take(0.05 * step) for step in range(40)]

        assert [verdict for verdict, _ in _runs(verdicts)] == [
            Verdict.GO_ON,
            Verdict.REFUSE,
            Verdict.CLOSE,
        ]

    def test_who_waits_is_free_again(self) -> None:
        """After the time that the burst would have taken at the pace."""
        bucket = Bucket(TEN)
        send(bucket, 9, 0.0)

        assert send(bucket, 5, 0.9) == {Verdict.GO_ON: 5}

    @given(
        st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
        st.floats(0.5, 1000),
        st.integers(1, 50),
    )
    def test_no_more_than_the_burst_ahead_of_the_pace(
        self, pauses: list[float], per_second: float, burst: int
    ) -> None:
        """Whatever the rhythm: what went through is bounded from the first command on."""
        bucket, now, passed = Bucket(Rate(per_second, burst)), 1000.0, 0
        for pause in pauses:
            now += pause
            passed += bucket.take(now) is Verdict.GO_ON
            assert passed <= burst + 1 + (now - 1000.0) * per_second


class TestRate:
    """The setting."""

    def test_none_needs_no_bucket(self) -> None:
        """0 a second is no limit."""
        assert UNLIMITED.bucket() is None
        assert Rate(per_second=1).bucket() is not None


class TestUserBuckets:
    """All of a user's connections to this process."""

    def test_connections_of_a_user_share_one(self) -> None:
        """And nobody else."""
        users = UserBuckets(TEN)

        assert users.enter("a") is users.enter("a")
        assert users.enter("a") is not users.enter("b")

    def test_nothing_is_kept_of_who_has_gone(self) -> None:
        """No map grows without bound."""
        users = UserBuckets(TEN)
        for user in ("a", "b", "a"):
            users.enter(user)

        assert len(users) == 2
        for user in ("a", "b", "a"):
            users.leave(user)
        assert len(users) == 0

    def test_guests_and_the_unlimited_have_none(self) -> None:
        """Guests are strangers to each other."""
        assert UserBuckets(TEN).enter("") is None
        assert UserBuckets(UNLIMITED).enter("a") is None


def _runs(verdicts: list[Verdict]) -> list[tuple[Verdict, int]]:
    runs: list[tuple[Verdict, int]] = []
    for verdict in verdicts:
        if runs and runs[-1][0] is verdict:
            runs[-1] = verdict, runs[-1][1] + 1
        else:
            runs.append((verdict, 1))
    return runs
