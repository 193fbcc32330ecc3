"""Fossil deltas, applied by the official Python SDK."""

from __future__ import annotations

import json
import random

import pytest
from centrifuge.fossil import apply_delta
from hypothesis import given, strategies as st

from ws_gateway import delta
from ws_gateway.delta import create

PIECES = st.lists(
    st.sampled_from(
        [
            *(b"", b"x", b"the quick brown fox ", b"jumps over the lazy dog", b'{"price": 12.50}'),
            *("größe".encode(), "😀".encode(), b"0123456789abcdef" * 3, b"\x80\x80", b"\xff"),
        ]
    )
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)
TEXTS = st.lists(
    st.sampled_from(
        ["ä" * 20, "ö" * 20, "😀😁😂" * 5, "a long piece of plain text", "é", "😀", "😁", "x"]
    )
    | st.text(max_size=10),
    max_size=12,
).map("".join)


def noise(seed: int, size: int) -> bytes:
    """Return bytes in which nothing repeats, the same every time."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - hides nothing


def check(source: bytes, target: bytes) -> bytes | None:
    """See that a patch is the shorter, and that the SDK makes the target of it."""
    patch = create(source, target)
    if patch is not None:
        assert len(patch) < len(target)
        assert apply_delta(source, patch) == target
    return patch


class TestCreate:
    """Protocol section 9."""

    @given(PIECES, PIECES)
    def test_any_bytes(self, source: bytes, target: bytes) -> None:
        """Alike or not."""
        check(source, target)

    @given(st.binary(max_size=300), st.binary(max_size=300))
    def test_any_other_bytes(self, source: bytes, target: bytes) -> None:
        """Without any plan."""
        check(source, target)

    @given(TEXTS, TEXTS)
    def test_patch_of_a_text_is_a_text(self, source: str, target: str) -> None:
        """It travels in a JSON string, so no character may be cut."""
        patch = check(source.encode(), target.encode())

        if patch is not None:
            patch.decode()

    @given(TEXTS, st.binary(max_size=300))
    def test_source_may_be_anything(self, target: str, source: bytes) -> None:
        """Also bytes that end in the middle of a character."""
        patch = check(source + target.encode()[1:], target.encode())

        if patch is not None:
            patch.decode()

    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("a" * 50 + "ä" + "b" * 50, "a" * 50 + "ö" + "b" * 50),
            ("ä" * 50 + "😀", "ä" * 50 + "😁"),
        ],
    )
    def test_characters_that_begin_or_end_alike(self, source: str, target: str) -> None:
        """They share bytes, which must be inserted again."""
        patch = check(source.encode(), target.encode())

        assert patch is not None
        assert target.strip("abä") in patch.decode()

    def test_small_change_is_a_small_patch(self) -> None:
        """The case this is for."""
        payload = {"ticker": "ABC", "prices": list(range(100)), "at": 1_700_000_000}
        source = json.dumps(payload).encode()
        target = json.dumps(payload | {"at": 1_700_000_001}).encode()

        patch = check(source, target)

        assert patch is not None
        assert len(patch) < 25

    def test_changes_in_several_places(self) -> None:
        """What lies between is found."""
        random_text = noise(1, 1000).hex().encode()
        target = b"1" + random_text[:700] + b"22" + random_text[700:1500] + b"333"

        patch = check(random_text, target)

        assert patch is not None
        assert len(patch) < 60

    def test_moved_pieces_are_found(self) -> None:
        """Also in another order."""
        pieces = [noise(number, 50) for number in range(10)]

        patch = check(b"".join(pieces), b"".join(reversed(pieces)))

        assert patch is not None
        assert len(patch) < 250

    def test_same_again(self) -> None:
        """One copy."""
        patch = check(b"x" * 1000, b"x" * 1000)

        assert patch is not None
        assert patch.split(b"\n")[1].startswith(b"Fd@0,")

    @pytest.mark.parametrize("target", [b"", b"a", b"short", noise(1, 5000)])
    @pytest.mark.parametrize("source", [b"", b"b", noise(2, 5000)])
    def test_no_patch_where_it_saves_nothing(self, source: bytes, target: bytes) -> None:
        """The full payload is sent then."""
        assert create(source, target) is None

    def test_search_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is done in the event loop: what is not found in so many steps is inserted."""
        source = noise(1, 2000)
        target = b"!" + source[:1000] + b"!" * 300 + source[1000:] + b"!"
        found = check(source, target)
        monkeypatch.setattr(delta, "_MAX_STEPS", 1)
        given_up = check(source, target)

        assert found is not None
        assert len(found) < 400
        assert given_up is None

    def test_wrong_source_is_noticed_by_the_client(self) -> None:
        """By the checksum, which is of the target."""
        source = b"the quick brown fox jumps over the lazy dog"
        patch = create(source, source + b"!")
        assert patch is not None

        with pytest.raises(ValueError, match="checksum"):
            apply_delta(source.upper(), patch)
