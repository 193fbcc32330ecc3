"""What others may have written into Redis: read as it was meant, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from ws_gateway.broker.base import Link
from ws_gateway.broker.redis_message import (
    CHANGES,
    read_changes,
    read_entry,
    read_message,
    write_changes,
    write_publication,
)
from ws_gateway.protocol.messages import ABSENT, ClientInfo, Join, Leave, Publication

PAYLOAD = write_publication(Publication(data=Raw(b'{"a":1}')), 7.0)
BEFORE = write_publication(Publication(data=Raw(b"[0]")), 6.0)


def numbered(head: bytes, rest: bytes = b"") -> bytes:
    """Return a message as the script puts it together."""
    return head % len(PAYLOAD) + b"\n" + PAYLOAD + rest


@given(
    st.binary(),
    st.none() | st.builds(ClientInfo, user=st.text(), client=st.text()),
    st.none() | st.dictionaries(st.text(), st.text(), min_size=1, max_size=3),
    st.floats(0, 2**40),
)
def test_what_is_written_is_read(
    data: bytes, info: ClientInfo | None, tags: dict[str, str] | None, now: float
) -> None:
    """Byte for byte; what is absent is the very object that codecs look for."""
    sent = Publication(data=Raw(data), info=info, tags=tags)

    found, link, published_at = read_message(write_publication(sent, now))

    assert (link, published_at, found.offset) == (None, now, 0)
    assert (bytes(found.data), found.info, found.tags) == (data, info, tags)
    assert found.info is None or found.info.conn_info is ABSENT


def test_numbered_message_says_how_it_hangs_on_the_one_before() -> None:
    """And brings its payload, where it was asked for."""
    found, link, _ = read_message(numbered(b"1 42 e0 17 16 %d", BEFORE))

    assert (found.offset, bytes(found.data)) == (42, b'{"a":1}')
    assert link == Link("e0", 17, 16, Raw(b"[0]"))


def test_payload_that_begins_like_a_head_is_none() -> None:
    """The first byte of the one is never that of the other."""
    assert not PAYLOAD.startswith(b"1")


@pytest.mark.parametrize(
    "message",
    [
        b"1 ",
        b"1 42 e0 17 16 9",
        b"1 42 e0 17 16 \n",
        numbered(b"1 42 e0 17 %d"),
        numbered(b"1 42 e0 17 16 5 %d"),
        numbered(b"1 -42 e0 17 16 %d"),
        numbered(b"1 4_2 e0 17 16 %d"),
        numbered(b"1 42 \xff 17 16 %d"),
        numbered(b"1 42 e0 x 16 %d"),
        numbered(b"1 42 e0 17 16 %d0"),
        numbered(b"1 42 e0 17 16 %d", b"no MessagePack"),
        b"1 " + b"4" * 500 + numbered(b" e0 17 16 %d"),
        b"1 42 e0 17 16 9\nnot what",
        b"1 42 e0 17 16 9\n" + b" " * (2**25 + 2**17),
    ],
)
def test_malformed_message_is_a_value_error(message: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of that kind is caught
        read_message(message)


@given(st.binary() | st.binary().map(b"1 ".__add__))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    """Never another exception: it would take the connection of all channels with it."""
    try:
        read_message(message)
    except ValueError:
        return


def test_entry_is_a_publication_and_its_mark() -> None:
    """The id is both numbers."""
    found, mark = read_entry([b"42-17", [b"d", PAYLOAD]])

    assert (found.offset, bytes(found.data), mark) == (42, b'{"a":1}', 17)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        [b"42-17"],
        [b"42-17", None],
        [b"42-17", [b"d"]],
        [b"42-17", [b"d", PAYLOAD, b"more"]],
        [b"42", [b"d", PAYLOAD]],
        [b"x-17", [b"d", PAYLOAD]],
        [b"42-17", [b"d", b"no MessagePack"]],
        [42, [b"d", PAYLOAD]],
        [b"42-17", [b"d", 5]],
    ],
)
def test_malformed_entry_is_a_value_error(entry: object) -> None:
    """Whoever wrote it."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of that kind is caught
        read_entry(entry)


INFOS = st.builds(ClientInfo, user=st.text(), client=st.text())


@given(st.lists(st.builds(Join, info=INFOS) | st.builds(Leave, info=INFOS), max_size=5))
def test_changes_that_are_written_are_read(changes: list[Join | Leave]) -> None:
    """In order; what is absent is the very object that codecs look for."""
    payload = write_changes(changes)

    assert payload.startswith(CHANGES)
    found = read_changes(payload)
    assert found == changes
    assert all(change.info.conn_info is ABSENT for change in found)


@given(st.binary(max_size=50))
def test_changes_of_others_are_refused_or_read(rest: bytes) -> None:
    """Nothing else is raised."""
    try:
        read_changes(CHANGES + rest)
    except ValueError:
        return


def test_publication_does_not_begin_like_changes() -> None:
    """Nor does a numbered one."""
    assert not PAYLOAD.startswith(CHANGES)
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        read_message(write_changes([Join(info=ClientInfo(user="u", client="c"))]))
