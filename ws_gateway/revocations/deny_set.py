"""The tokens of one issuer that are no longer good, each rule until its last token has expired.

Synchronous and pure: no await, no clock, no metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from heapq import heappop, heappush
from math import inf
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ws_gateway.credentials import Credentials

MARGIN_SECONDS = 60
"""How long after its end a rule is kept: a token counts for the leeway of the issuer's clock
longer than it says, and a connection for the grace."""

_Text = Annotated[str, Meta(max_length=1024)]
_Seconds = Annotated[int, Meta(ge=0, lt=2**53)]


class Kind(Enum):
    """What a token is denied by."""

    JTI = "jti"
    SID = "sid"
    SUBJECT = "sub"
    CLIENT = "client"
    KID = "kid"

    @property
    def renewable(self) -> bool:
        """Whether a fresh token of the same session would be good."""
        return self in (Kind.JTI, Kind.KID)


class Revocation(Struct, frozen=True, gc=False, kw_only=True):
    """An entry of a log.

    Attributes:
        kind: What it denies by.
        value: The ``jti``, ``sid``, ``sub``, client or ``kid``.
        before: Kinds sub and client deny tokens issued up to this second.
        until: When the last token it can concern has expired, in Unix time.
        sub: Whose token it is, for kinds jti and sid; empty if that is not known.
    """

    kind: Kind
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    before: _Seconds
    until: _Seconds
    sub: _Text = ""

    @property
    def subject(self) -> str:
        """The one user whose connections it can concern; empty if it can be anybody's."""
        return self.value if self.kind is Kind.SUBJECT else self.sub


def parse(fields: Mapping[str, object], *, texts: bool = False) -> Revocation | None:
    """Return an entry, or None if this is none; fields that are not known are passed over.

    Args:
        fields: By name.
        texts: Numbers are written as text.
    """
    try:
        return msgspec.convert(fields, Revocation, strict=not texts)
    except ValueError:  # msgspec's errors are of this kind
        return None


class DenySet:
    """Rules by kind and value; adding one twice changes nothing."""

    def __init__(self) -> None:
        # What is denied by kind: the newest second of issue, and the end of the rule.
        self._rules: dict[Kind, dict[str, tuple[float, int]]] = {kind: {} for kind in Kind}
        self._jtis = self._rules[Kind.JTI]
        self._sids = self._rules[Kind.SID]
        self._subjects = self._rules[Kind.SUBJECT]
        self._clients = self._rules[Kind.CLIENT]
        self._kids = self._rules[Kind.KID]
        # A heap of ends; a rule that was prolonged is in it more than once.
        self._ends: list[tuple[int, str, str]] = []

    def __len__(self) -> int:
        """How many rules there are."""
        return sum(map(len, self._rules.values()))

    def add(self, revocation: Revocation, now: float) -> bool:
        """Deny what it names; return whether anything is denied that was not."""
        kind, value, end = revocation.kind, revocation.value, revocation.until + MARGIN_SECONDS
        if end <= now:
            return False
        by_time = kind in (Kind.SUBJECT, Kind.CLIENT)
        before = revocation.before if by_time else inf
        rules = self._rules[kind]
        known_before, known_end = rules.get(value, (-1.0, 0))
        if before <= known_before and end <= known_end:
            return False
        rules[value] = max(before, known_before), max(end, known_end)
        if end > known_end:
            heappush(self._ends, (end, kind.value, value))
        return before > known_before

    def find(self, credentials: Credentials) -> Kind | None:
        """Say by what a token is denied, None if it is good; the end of a session comes first."""
        if not self._ends:
            return None
        if credentials.sid in self._sids:
            return Kind.SID
        issued_at = credentials.issued_at
        rule = self._subjects.get(credentials.subject)
        if rule is not None and issued_at <= rule[0]:
            return Kind.SUBJECT
        rule = self._clients.get(credentials.client_id)
        if rule is not None and issued_at <= rule[0]:
            return Kind.CLIENT
        if credentials.jti in self._jtis:
            return Kind.JTI
        return Kind.KID if credentials.kid in self._kids else None

    def expire(self, now: float) -> None:
        """Forget the rules that concern no token any more."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            _, kind, value = heappop(ends)
            rules = self._rules[Kind(kind)]
            rule = rules.get(value)
            if rule is not None and rule[1] <= now:
                del rules[value]
