"""Users and clients as values, and what must hold for a name or a scope before it is stored."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from auth_service.exceptions import InvalidUsername

MAX_USERNAME_CHARACTERS = 64
# Case folding can make three characters out of one, and NFKC of one up to eighteen, but the longest
# shown name is 64 characters after NFKC.
_MAX_KEY_CHARACTERS = 4 * MAX_USERNAME_CHARACTERS
MAX_SCOPE_CHARACTERS = 1024
# The subject of a service is `client:ID`; no user may look like one.
CLIENT_PREFIX = "client:"
#: Scopes that no user gets, whatever is stored: they belong to confidential clients.
CLIENT_ONLY_SCOPES = frozenset({"api", "introspect"})

#: 56 characters, so that `client:ID` fits into the 64 of a subject.
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,56}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")


@dataclass(frozen=True, slots=True)
class Username:
    """A user's name in its two forms.

    Args:
        shown: NFKC-normalised, as others see it.
        key: Case-folded; two names with one key are the same name.
    """

    shown: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Username:
        """Normalise ``text`` and check it.

        NFKC first, so that é typed as one or as two code points, and full-width letters, are one
        name; then case folding for comparison, so that Alice cannot be imitated by aLICE. Control,
        format (bidirectional overrides, zero-width joiners), private and unassigned characters and
        line separators are refused, as are blanks at the ends and the prefix of services.

        Raises:
            InvalidUsername: The name is empty, over 64 characters, or holds what is refused.
        """
        if len(text) > _MAX_KEY_CHARACTERS:  # before the work that grows with the length
            raise InvalidUsername(_length_rule())
        if any(unicodedata.category(character)[0] == "C" for character in text):
            raise InvalidUsername("a user name holds no control or invisible characters")
        shown = unicodedata.normalize("NFKC", text)
        if not 1 <= len(shown) <= MAX_USERNAME_CHARACTERS:
            raise InvalidUsername(_length_rule())
        if any(unicodedata.category(character) in {"Zl", "Zp"} for character in shown):
            raise InvalidUsername("a user name holds no line separators")
        if shown != shown.strip():
            raise InvalidUsername("a user name neither begins nor ends with a blank")
        key = unicodedata.normalize("NFKC", shown.casefold())
        if key.startswith(CLIENT_PREFIX):
            raise InvalidUsername(f"a user name does not begin with {CLIENT_PREFIX}")
        return cls(shown, key)


def _length_rule() -> str:
    return f"a user name has 1 to {MAX_USERNAME_CHARACTERS} characters"


def parse_scope(text: str) -> frozenset[str] | None:
    """Split a scope as RFC 6749 section 3.3 writes it; None if it is malformed or too long."""
    if len(text) > MAX_SCOPE_CHARACTERS or _SCOPE.fullmatch(text) is None:
        return None
    return frozenset(text.split(" "))


@dataclass(frozen=True, slots=True)
class User:
    """A person who may log in.

    Args:
        id: The ``sub`` of tokens: opaque, random, never used again.
        username: As shown to others.
        password_hash: Of the form ``$argon2id$…``.
        scopes: What this user may be granted.
        disabled: Whether every login and every token is refused.
        demo: Whether the password was printed on a terminal; production refuses such users.
        created_at: Seconds since 1970, UTC.
        tokens_after: Tokens whose ``iat`` is not above are refused.
    """

    id: str
    username: str
    password_hash: str
    scopes: frozenset[str]
    disabled: bool
    demo: bool
    created_at: int
    tokens_after: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may ask for tokens (RFC 6749 section 2).

    Args:
        id: The ``client_id``.
        secret_hash: SHA-256 of the secret in hexadecimal; None for a client without one.
        grants: Grant types it may use.
        scopes: What it may be granted.
        disabled: Whether it is refused.
        created_at: Seconds since 1970, UTC.
        name: What users are shown; empty: its id.
        previous_secret_hash: Of the secret that is being replaced.
        previous_secret_until: Until when that one counts, seconds since 1970.
        jwks: JSON Web Key Set of ``private_key_jwt``.
        redirect_uris: Where authorization codes may be sent.
        tokens_after: Tokens whose ``iat`` is not above are refused.
    """

    id: str
    secret_hash: str | None
    grants: frozenset[str]
    scopes: frozenset[str]
    disabled: bool
    created_at: int
    name: str = ""
    previous_secret_hash: str | None = None
    previous_secret_until: int | None = None
    jwks: str | None = None
    redirect_uris: tuple[str, ...] = ()
    tokens_after: int = 0

    @property
    def public(self) -> bool:
        """Whether it cannot keep a secret, and so proves nothing (RFC 6749 section 2.1)."""
        return self.secret_hash is None and self.jwks is None
