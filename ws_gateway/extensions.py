"""What of ``Sec-WebSocket-Extensions`` is agreed to (RFC 7692 section 7.1): permessage-deflate.

An offer that cannot be met as it stands is passed over, and so is one that is malformed or
unknown: the connection then goes without (RFC 6455 section 9.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_DEFLATE = "permessage-deflate"
_AGREED = f"{_DEFLATE}; server_no_context_takeover; client_no_context_takeover"
_WINDOW = "15"
# A list of offers, each a name and parameters; a value may be quoted (RFC 6455 section 9.1).
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar's word
_PARAMETER = re.compile(rf'({_TOKEN})(?:\s*=\s*(?:({_TOKEN})|"({_TOKEN})"))?')
_BITS = re.compile(r"[89]|1[0-5]")
_MAX_OFFERS = 16


def agree(values: Iterable[str]) -> str | None:
    """Return what to answer with, None to go without.

    Args:
        values: The headers of that name.
    """
    offers = [offer for value in values for offer in value.split(",")]
    for offer in offers[:_MAX_OFFERS]:
        answer = _agree_to(offer)
        if answer is not None:
            return answer
    return None


def _agree_to(offer: str) -> str | None:
    name, *parameters = (part.strip(" \t") for part in offer.split(";"))
    if name != _DEFLATE:
        return None
    asked: dict[str, str | None] = {}
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None or match[1] in asked:
            return None
        asked[match[1]] = match[2] or match[3]
    answer = _AGREED
    for parameter_name, value in asked.items():
        match parameter_name, value:
            case (("server_no_context_takeover" | "client_no_context_takeover"), None):
                pass
            case "client_max_window_bits", bits if bits is None or _BITS.fullmatch(bits):
                pass  # what it compresses with less is read all the same
            case "server_max_window_bits", bits if bits == _WINDOW:
                # Frames are shared, so all have the largest window.
                answer += f"; server_max_window_bits={_WINDOW}"
            case _:
                return None
    return answer
