"""Patterns of channel names: ``*`` for anything, ``?`` for one character, sets and alternatives.

Python's own translation is used for what it knows (``*``, ``?``, ``[a-z]``, ``[!a-z]``); ``{a,b}``
is added, because Centrifugo's patterns have it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ReplyError

MAX_LENGTH = 255
_MAX_STARS = 16
_MAX_ALTERNATIVES = 64
_BRACES = re.compile(r"\{([^{}]*)\}")


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Return the function that says whether a name matches.

    Raises:
        ReplyError: 107 for a pattern that is too long, or would take too long.
    """
    if len(pattern) > MAX_LENGTH or pattern.count("*") > _MAX_STARS:
        raise ReplyError(ErrorCode.BAD_REQUEST)
    patterns = [pattern]
    while any(map(_BRACES.search, patterns)):
        patterns = [one for each in patterns for one in _expand(each)]
        if len(patterns) > _MAX_ALTERNATIVES:
            raise ReplyError(ErrorCode.BAD_REQUEST)
    # fnmatch's stars are atomic, so that a name is matched in linear time.
    matches = re.compile("|".join(map(fnmatch.translate, patterns))).match
    return lambda name: matches(name) is not None


def _expand(pattern: str) -> list[str]:
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [f"{before}{choice}{after}" for choice in found[1].split(",")]
