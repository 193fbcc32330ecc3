"""All tables.

Times are whole seconds since 1970 by the auth service's clock, unless a column says otherwise.
Lists are words separated by blanks. What is secret is here as a hash only, or sealed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

#: The revision of the migrations that makes these tables; numbers of four digits, in order. The
#: first two are the generation, within which a revision only adds (``migration.py``).
REVISION = "0002"
#: Constraints get predictable names, which migrations need.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite numbers rows by itself only where the column's type is exactly INTEGER.
_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_SHA256 = String(64)  # in hexadecimal


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


USERS = Table(
    "users",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("username", String(64), nullable=False),
    Column("username_key", String(256), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("demo", Boolean, nullable=False),
    _time("created_at"),
    # Tokens whose iat is not above are refused: log-out everywhere, a new password.
    Column("tokens_after", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("username_key"),
)

CLIENTS = Table(
    "clients",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("name", String(128), nullable=False, server_default=""),
    # Two at once while a secret is replaced; the previous one counts until its time.
    Column("secret_hash", _SHA256),
    Column("previous_secret_hash", _SHA256),
    _time("previous_secret_until", nullable=True),
    # A JWK Set with the public keys of private_key_jwt.
    Column("jwks", Text),
    Column("grants", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("redirect_uris", Text, nullable=False, server_default=""),
    Column("disabled", Boolean, nullable=False),
    _time("created_at"),
    Column("tokens_after", BigInteger, nullable=False, server_default="0"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    # The sid of its tokens.
    Column("id", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("client_id", ForeignKey("clients.client_id", ondelete="CASCADE"), nullable=False),
    # How it began: a grant type, or browser.
    Column("kind", String(32), nullable=False),
    Column("scope", Text, nullable=False),
    _time("auth_time"),
    _time("created_at"),
    _time("used_at"),
    # Of the present refresh token; a session without one has generation 0 and no hash.
    Column("generation", Integer, nullable=False),
    Column("token_hash", _SHA256),
    Column("previous_hash", _SHA256),
    _time("rotated_at", nullable=True),
    _time("idle_expires_at"),
    _time("expires_at"),
    _time("ended_at", nullable=True),
    Column("end_reason", String(32)),
    # Shown to its user in the list of sessions.
    Column("address", String(64), nullable=False),
    Column("user_agent", String(256), nullable=False),
    Index(None, "user_id"),
    Index(None, "client_id"),
    Index(None, "expires_at"),
)

AUTHORIZATION_CODES = Table(
    "authorization_codes",
    METADATA,
    Column("code_hash", _SHA256, primary_key=True),
    Column("client_id", ForeignKey("clients.client_id", ondelete="CASCADE"), nullable=False),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("challenge", String(43), nullable=False),
    Column("scope", Text, nullable=False),
    _time("auth_time"),
    _time("expires_at"),
    _time("used_at", nullable=True),
    # What it was exchanged for, to be ended if the code comes a second time.
    Column("session_id", String(64)),
    Index(None, "expires_at"),
)

DEVICE_AUTHORIZATIONS = Table(
    "device_authorizations",
    METADATA,
    Column("code_hash", _SHA256, primary_key=True),
    Column("user_code", String(16), nullable=False),
    Column("client_id", ForeignKey("clients.client_id", ondelete="CASCADE"), nullable=False),
    Column("scope", Text, nullable=False),
    # pending, approved, denied or used.
    Column("state", String(16), nullable=False),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE")),
    _time("auth_time", nullable=True),
    # Seconds that a client waits between two questions.
    Column("interval", Integer, nullable=False),
    # With fractions of a second.
    Column("polled_at", Double),
    _time("created_at"),
    _time("expires_at"),
    UniqueConstraint("user_code"),
    Index(None, "expires_at"),
)

CLIENT_ASSERTIONS = Table(
    "client_assertions",
    METADATA,
    # Each is good once: RFC 7523 section 3.
    Column("client_id", String(64), primary_key=True),
    Column("jti_hash", _SHA256, primary_key=True),
    _time("expires_at"),
    Index(None, "expires_at"),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    # A keyed hash of what is limited: an address, an account, both, or everything.
    Column("key", _SHA256, primary_key=True),
    # When GCRA allows the next attempt, with fractions of a second.
    Column("arrival", Double, nullable=False),
    Column("failures", Integer, nullable=False),
    _time("locked_until"),
    _time("expires_at"),
    Index(None, "expires_at"),
)

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("public_jwk", Text, nullable=False),
    _time("created_at"),
    _time("activates_at"),
    # Set when the next one is made; from then on it is published no more.
    _time("removes_at", nullable=True),
    _time("revoked_at", nullable=True),
)

REVOCATIONS = Table(
    "revocations",
    METADATA,
    # Without gaps and in the order of commits, see REVOCATION_LOG; never by the database itself.
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # jti, sid, sub, client or kid.
    Column("kind", String(8), nullable=False),
    Column("value", String(255), nullable=False),
    Column("sub", String(128), nullable=False),
    # With sub and client: tokens whose iat is not above.
    Column("before", BigInteger, nullable=False),
    # From when on nothing it names can be valid.
    _time("until"),
    Column("reason", String(32), nullable=False),
    _time("created_at"),
    Index(None, "kind", "value"),
    Index(None, "until"),
)

REVOCATION_LOG = Table(
    "revocation_log",
    METADATA,
    # One row, whose lock puts the writers of revocations into a row.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("log", String(64), nullable=False),
    Column("top", BigInteger, nullable=False),
)

AUDIT_EVENTS = Table(
    "audit_events",
    METADATA,
    Column("id", _ROW_NUMBER, primary_key=True, autoincrement=True),
    _time("at"),
    Column("event", String(64), nullable=False),
    Column("outcome", String(32), nullable=False),
    # Who did it: a user's or a client's id, or operator.
    Column("actor", String(128), nullable=False),
    # To whom or what.
    Column("subject", String(255), nullable=False),
    Column("client_id", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Index(None, "at"),
    Index(None, "subject"),
)
