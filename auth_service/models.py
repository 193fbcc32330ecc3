"""The tables, and the values that leave them.

What must hold for a name or a scope before it is stored is said here too, beside the columns.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from sqlalchemy import BigInteger, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

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
    """

    id: str
    username: str
    password_hash: str
    scopes: frozenset[str]
    disabled: bool
    demo: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may ask for tokens (RFC 6749 section 2).

    Args:
        id: The ``client_id``.
        secret_hash: SHA-256 of the secret in hexadecimal; None for a public client.
        grants: Grant types it may use.
        scopes: What it may be granted.
        disabled: Whether it is refused.
        created_at: Seconds since 1970, UTC.
    """

    id: str
    secret_hash: str | None
    grants: frozenset[str]
    scopes: frozenset[str]
    disabled: bool
    created_at: int


class Base(DeclarativeBase):
    """The root of all tables; constraints get predictable names, which migrations need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UserRow(Base):
    """The table of users."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    username: Mapped[str] = mapped_column(String(MAX_USERNAME_CHARACTERS))
    username_key: Mapped[str] = mapped_column(String(_MAX_KEY_CHARACTERS), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text, default="connect")
    disabled: Mapped[bool] = mapped_column(default=False)
    demo: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)

    def value(self) -> User:
        """Return the row as a value that outlives its transaction."""
        return User(
            id=self.id,
            username=self.username,
            password_hash=self.password_hash,
            scopes=frozenset(self.scope.split()),
            disabled=self.disabled,
            demo=self.demo,
            created_at=self.created_at,
        )


class ClientRow(Base):
    """The table of clients; lists are stored as words separated by blanks."""

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    grants: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)

    def value(self) -> Client:
        """Return the row as a value that outlives its transaction."""
        return Client(
            id=self.client_id,
            secret_hash=self.secret_hash,
            grants=frozenset(self.grants.split()),
            scopes=frozenset(self.scope.split()),
            disabled=self.disabled,
            created_at=self.created_at,
        )
