"""The table of encodings, and what each of them promises."""

from __future__ import annotations

import pytest

from ws_gateway.exceptions import Disconnect
from ws_gateway.frames import BINARY, TEXT, split
from ws_gateway.handshake import SUBPROTOCOLS
from ws_gateway.protocol.codec import CODECS, JSON, Codec
from ws_gateway.protocol.messages import Reply


def test_each_codec_is_found_by_its_subprotocol() -> None:
    """What the handshake chose names the codec."""
    assert all(codec.subprotocol == name for name, codec in CODECS.items())
    assert CODECS["centrifuge-json"] is JSON


def test_no_subprotocol_is_offered_that_cannot_be_spoken() -> None:
    """The handshake answers with one of ours."""
    assert set(SUBPROTOCOLS) <= set(CODECS)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
class TestEachCodec:
    """The promises of ``Codec``."""

    def test_frames_are_of_its_kind(self, codec: Codec) -> None:
        """Binary messages or text ones, never both."""
        opcode = BINARY if codec.binary else TEXT

        for message in (codec.ping, codec.encode(Reply(id=1))):
            ((found, _),) = split(message)
            assert found == opcode

    def test_ping_is_an_empty_reply(self, codec: Codec) -> None:
        """Protocol section 6."""
        assert codec.ping == codec.encode(Reply())

    def test_message_without_a_command_ends_the_connection(self, codec: Codec) -> None:
        """A frame with zero commands is 3501 (protocol section 1)."""
        with pytest.raises(Disconnect) as caught:
            codec.decode(b"")

        assert caught.value.code == 3501

    def test_codec_can_be_a_key(self, codec: Codec) -> None:
        """The hub groups subscribers by it."""
        assert {codec: 1}[codec] == 1
