"""Sessions: from a log-in to the log-out, and the tokens in between.

A session is what RFC 6749 calls a grant and RFC 9700 a family of refresh tokens. Its id is the
``sid`` of its access tokens.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import audit
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant, InvalidScope
from auth_service.identifiers import new_identifier
from auth_service.issued import Issued
from auth_service.metrics import Metrics
from auth_service.models import Client, User
from auth_service.refresh_tokens import RefreshToken, RefreshTokens
from auth_service.store import clients, revocations, sessions, users
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation
from auth_service.store.sessions import (
    BROWSER,
    NewSession,
    Owner,
    Rotated,
    SessionRow,
    Standing,
)
from auth_service.tokens import MAX_LIFETIME_SECONDS, AccessToken, AccessTokens

#: The grant type that a client needs for its sessions to outlive their first access token.
REFRESH_GRANT = "refresh_token"
#: Of users, unless somebody takes it from them.
USUAL_SCOPE = "connect"

# How long an entry that names a session, a user or a client stays in the log: longer than any
# token lives, whatever AUTH_ACCESS_TOKEN_SECONDS was when it was minted, and any leeway.
REVOCATION_SECONDS = MAX_LIFETIME_SECONDS + 60

#: What the id of a session may look like.
SID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long sessions live, in seconds.

    Args:
        idle: Without being refreshed.
        absolute: However often they are refreshed.
        grace: After a refresh token was replaced, the same answer is given again for so long to a
            client that presents the old one: it may have lost the answer, or have two tabs.
    """

    idle: int
    absolute: int
    grace: int


class _Reuse(Exception):
    """A refresh token came again that had been replaced: somebody has a copy of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replaced:
    """A refresh token that was replaced, and what the access token beside its successor says.

    Args:
        session: Of which it is.
        owner: Whose.
        scopes: What is granted.
        successor: The refresh token that is good from now on.
        result: A word for the metrics.
        now: When, seconds since 1970.
    """

    session: Rotated | SessionRow
    owner: Owner
    scopes: Collection[str]
    successor: RefreshToken
    result: str
    now: float


class Sessions:
    """Opens sessions, refreshes and ends them.

    Args:
        database: Where they are kept.
        tokens: Mints the access tokens.
        refresh_tokens: Makes and reads the others.
        lifetimes: How long sessions live.
        metrics: Where tokens are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        lifetimes: Lifetimes,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._lifetimes = lifetimes
        self._metrics = metrics
        self._clock = clock

    async def start(
        self,
        user: User,
        client: Client,
        *,
        scopes: Collection[str],
        kind: str,
        caller: Caller,
        auth_time: int | None = None,
    ) -> Issued:
        """Open a session for a user who has logged in; see `start_in`."""
        async with self._database.write() as connection:
            return await self.start_in(
                connection,
                user,
                client,
                scopes=scopes,
                kind=kind,
                caller=caller,
                auth_time=auth_time,
            )

    async def start_in(
        self,
        connection: AsyncConnection,
        user: User,
        client: Client,
        *,
        scopes: Collection[str],
        kind: str,
        caller: Caller,
        auth_time: int | None = None,
        sid: str | None = None,
    ) -> Issued:
        """Open a session inside a writing transaction: it is there if that is committed.

        Args:
            connection: From `Database.write`.
            user: Who, as read when the password was checked, or later.
            client: On whose behalf the tokens are used.
            scopes: What is granted, not empty.
            kind: How it began: a grant type, or ``browser``.
            caller: Who asks.
            auth_time: When the user typed the password, seconds since 1970; now unless given.
            sid: The session's id, if the caller has to know it; from `new_identifier`.

        Raises:
            InvalidGrant: Since then the user or the client was disabled or deleted, or all of the
                user's sessions were ended.
            StoreUnavailable: The database does not answer.
        """
        now = self._clock()
        sid = new_identifier() if sid is None else sid
        standing = await good_standing(connection, user, client)
        if auth_time is not None and auth_time <= standing.user_tokens_after:
            raise InvalidGrant
        scope = " ".join(sorted(scopes))
        auth_time = int(now) if auth_time is None else auth_time
        token = self._tokens.mint(
            sub=user.id,
            client_id=client.id,
            scopes=scopes,
            sid=sid,
            now=now,
            after=max(standing.user_tokens_after, standing.client_tokens_after),
            auth_time=auth_time,
            name=user.username,
        )
        # A browser keeps its refresh token in a cookie of ours, whatever other programs may do with
        # the same client_id.
        refreshable = kind == BROWSER or REFRESH_GRANT in client.grants
        refresh_token = self._refresh_tokens.first(sid) if refreshable else None
        absolute = self._lifetimes.absolute if refreshable else token.expires_in
        idle = min(self._lifetimes.idle, absolute) if refreshable else absolute
        await sessions.add(
            connection,
            NewSession(
                id=sid,
                user_id=user.id,
                client_id=client.id,
                kind=kind,
                scope=scope,
                auth_time=auth_time,
                now=int(now),
                token_hash=refresh_token.hash if refresh_token else None,
                idle_expires_at=int(now) + idle,
                expires_at=int(now) + absolute,
                address=caller.address,
                user_agent=caller.user_agent,
            ),
        )
        await audit.record(
            connection,
            AuditEvent(
                event="session_started",
                actor=user.id,
                subject=sid,
                client_id=client.id,
                reason=kind,
                caller=caller,
            ),
            now=now,
        )
        return self._issued(
            token,
            scope,
            grant_type=kind,
            sub=user.id,
            client_id=client.id,
            caller=caller,
            refresh_token=refresh_token,
            refresh_expires_in=idle,
        )

    async def refresh(
        self,
        text: str,
        client: Client,
        *,
        requested: Collection[str] | None,
        browser: bool,
        caller: Caller,
    ) -> Issued:
        """Replace a refresh token, and mint an access token beside its successor.

        Of several who present one token at the same time one replaces it; the others get the same
        successor, as does who presents it again within the grace. Sockets stay open: what was
        issued before is good until it expires.

        Args:
            text: What the client presents.
            client: Which client, authenticated.
            requested: The scope of the access token; None: that of the session.
            browser: Whether the token came by cookie; sessions of one kind are not refreshed in
                the other's way.
            caller: Who asks.

        Raises:
            InvalidGrant: The token is not good. If it was once, and came again after its grace,
                the session is ended as well.
            InvalidScope: ``requested`` is wider than the session's scope.
            StoreUnavailable: The database does not answer. The token is as good as before, or
                was replaced and is within its grace.
        """
        presented = self._refresh_tokens.read(text)
        if presented is None:
            # Nothing in the database can make it good, so it does not cost a transaction.
            self._metrics.refreshes.labels(result="refused").inc()
            raise _refused()
        # What nearly every refresh is takes one statement; the others take a transaction, which
        # also finds out what is wrong.
        replaced = None
        if requested is None and USUAL_SCOPE in client.scopes:
            replaced = await self._rotate_at_once(presented, client, browser=browser)
        try:
            if replaced is None:
                async with self._database.write() as connection:
                    replaced = await self._rotate(
                        connection, presented, client, requested, browser=browser
                    )
        except InvalidGrant:
            self._metrics.refreshes.labels(result="refused").inc()
            raise
        except _Reuse:
            await self._end_reused(presented, client, caller)
            raise _refused() from None
        self._metrics.refreshes.labels(result=replaced.result).inc()
        return self._refreshed(replaced, presented.sid, client, caller)

    async def _rotate_at_once(
        self, presented: RefreshToken, client: Client, *, browser: bool
    ) -> _Replaced | None:
        now = self._clock()
        successor = self._refresh_tokens.successor(presented)
        rotated = await sessions.rotate_at_once(
            self._database,
            presented.sid,
            presented=presented.hash,
            successor=successor.hash,
            client_id=client.id,
            browser=browser,
            now=int(now),
            idle_expires_at=int(now) + self._lifetimes.idle,
            word=USUAL_SCOPE,
        )
        if rotated is None:
            return None
        session, owner = rotated
        scopes = client.scopes & frozenset(session.scope.split()) & frozenset(owner.scope.split())
        return _Replaced(
            session=session,
            owner=owner,
            scopes=scopes,
            successor=successor,
            result="rotated",
            now=now,
        )

    async def _rotate(
        self,
        connection: AsyncConnection,
        presented: RefreshToken,
        client: Client,
        requested: Collection[str] | None,
        *,
        browser: bool,
    ) -> _Replaced:
        now = self._clock()
        successor = self._refresh_tokens.successor(presented)
        session: Rotated | SessionRow | None = await sessions.rotate(
            connection,
            presented.sid,
            presented=presented.hash,
            successor=successor.hash,
            client_id=client.id,
            browser=browser,
            now=int(now),
            idle_expires_at=int(now) + self._lifetimes.idle,
        )
        result = "rotated"
        if session is None:
            # Kept, or else whoever ends all sessions may date the watermark before this token.
            session = await sessions.by_id(connection, presented.sid, keep=True)
            successor = self._again(session, presented, client, browser=browser, now=now)
            assert session is not None  # noqa: S101 (for the type checker)
            result = "grace"
        user = await users.by_id(connection, session.user_id)
        if user is None or user.disabled:
            raise _refused()
        return _Replaced(
            session=session,
            owner=Owner(user.id, user.username, "", user.tokens_after),
            scopes=_narrowed(session.scope, requested, client, user),
            successor=successor,
            result=result,
            now=now,
        )

    def _refreshed(self, replaced: _Replaced, sid: str, client: Client, caller: Caller) -> Issued:
        session, owner, now = replaced.session, replaced.owner, replaced.now
        token = self._tokens.mint(
            sub=owner.id,
            client_id=client.id,
            scopes=replaced.scopes,
            sid=sid,
            now=now,
            after=max(owner.tokens_after, client.tokens_after),
            auth_time=session.auth_time,
            name=owner.username,
        )
        return self._issued(
            token,
            " ".join(sorted(replaced.scopes)),
            grant_type=REFRESH_GRANT,
            sub=owner.id,
            client_id=client.id,
            caller=caller,
            refresh_token=replaced.successor,
            refresh_expires_in=min(session.idle_expires_at, session.expires_at) - int(now),
        )

    def _again(
        self,
        session: SessionRow | None,
        presented: RefreshToken,
        client: Client,
        *,
        browser: bool,
        now: float,
    ) -> RefreshToken:
        """Return the successor that a client may have lost, for a token that could not be replaced.

        Raises:
            InvalidGrant: It is not the client's, or of a session that is over.
            _Reuse: It was replaced too long ago.
        """
        if (
            session is None
            or not session.alive(int(now))
            or session.client_id != client.id
            or (session.kind == BROWSER) is not browser
            or session.token_hash == presented.hash
        ):
            raise _refused()
        grace = self._lifetimes.grace
        if (
            grace
            and session.previous_hash == presented.hash
            and session.rotated_at is not None
            and now - session.rotated_at <= grace
        ):
            for successor in self._refresh_tokens.successors(presented):
                if successor.hash == session.token_hash:
                    return successor
        raise _Reuse

    async def _end_reused(self, presented: RefreshToken, client: Client, caller: Caller) -> None:
        """End the session of a token that came again, in a transaction that is committed."""
        self._metrics.refreshes.labels(result="reuse").inc()
        async with self._database.write() as connection:
            await audit.record(
                connection,
                AuditEvent(
                    event="refresh_reuse_detected",
                    outcome="refused",
                    subject=presented.sid,
                    client_id=client.id,
                    caller=caller,
                ),
                now=self._clock(),
            )
            await self.end(connection, presented.sid, reason="reuse", actor="", caller=caller)

    def _issued(
        self,
        token: AccessToken,
        scope: str,
        *,
        grant_type: str,
        sub: str,
        client_id: str,
        caller: Caller,
        refresh_token: RefreshToken | None,
        refresh_expires_in: int,
    ) -> Issued:
        self._metrics.tokens_issued.labels(grant_type=grant_type).inc()
        _log.info(
            "token_issued",
            extra={
                "sub": sub,
                "client_id": client_id,
                "jti": token.jti,
                "sid": token.sid,
                "address": caller.address,
            },
        )
        if refresh_token is None:
            return Issued(token.text, token.expires_in, scope)
        return Issued(token.text, token.expires_in, scope, refresh_token.text, refresh_expires_in)

    async def end(
        self, connection: AsyncConnection, sid: str, *, reason: str, actor: str, caller: Caller
    ) -> bool:
        """End one session inside a writing transaction, which should be committed soon after.

        Its refresh token is refused from then on, and gateways learn to refuse its access tokens.

        Args:
            connection: From `Database.write`.
            sid: Which.
            reason: A short word: ``logout``, ``reuse``, ``admin``, …
            actor: Who wants it: a ``sub`` or ``operator``; empty if nobody knows.
            caller: From where.

        Returns:
            Whether there was such a session, and it had not ended before.
        """
        now = self._clock()
        ended = await sessions.end(connection, sid, reason=reason, now=int(now))
        if ended is None:
            return False
        await audit.record(
            connection,
            AuditEvent(
                event="session_ended",
                actor=actor,
                subject=sid,
                client_id=ended.client_id,
                reason=reason,
                caller=caller,
            ),
            now=now,
        )
        entry = Revocation(
            kind="sid",
            value=sid,
            sub=ended.user_id,
            until=int(now) + REVOCATION_SECONDS,
            reason=reason,
        )
        await revocations.append(connection, entry, now=int(now))
        return True

    async def end_all(
        self, connection: AsyncConnection, user: User, *, reason: str, actor: str, caller: Caller
    ) -> None:
        """End all sessions of a user inside a writing transaction, and revoke all his tokens.

        Args:
            connection: From `Database.write`.
            user: From `users.locked` in this transaction: no session begins meanwhile.
            reason: A short word: ``logout_all``, ``password_changed``, ``user_disabled``, …
            actor: Who wants it: a ``sub`` or ``operator``.
            caller: From where.
        """
        begun = int(self._clock())
        # Waits for refreshes on the way; what they mint is dated before the watermark.
        await sessions.end_of_user(connection, user.id, reason=reason, now=begun)
        now = self._clock()
        before = max(int(now), user.tokens_after + 1)
        await users.set_tokens_after(connection, user.id, before)
        event = AuditEvent(
            event="sessions_ended", actor=actor, subject=user.id, reason=reason, caller=caller
        )
        await audit.record(connection, event, now=now)
        entry = Revocation(
            kind="sub",
            value=user.id,
            before=before,
            until=before + REVOCATION_SECONDS,
            reason=reason,
        )
        await revocations.append(connection, entry, now=int(now))

    async def end_all_of_client(
        self, connection: AsyncConnection, client: Client, *, reason: str, caller: Caller
    ) -> None:
        """End all sessions of a client inside a writing transaction, and revoke all its tokens.

        Args:
            connection: From `Database.write`.
            client: Locked in this transaction: no session begins meanwhile.
            reason: A short word: ``client_disabled``, ``admin``, …
            caller: From where the operator gives the order.
        """
        begun = int(self._clock())
        await sessions.end_of_client(connection, client.id, reason=reason, now=begun)
        now = self._clock()
        # A second more: tokens without a session are minted without any lock.
        before = max(int(now) + 1, client.tokens_after + 1)
        await clients.set_tokens_after(connection, client.id, before)
        event = AuditEvent(
            event="client_revoked",
            actor=audit.OPERATOR,
            subject=client.id,
            client_id=client.id,
            reason=reason,
            caller=caller,
        )
        await audit.record(connection, event, now=now)
        entry = Revocation(
            kind="client",
            value=client.id,
            before=before,
            until=before + REVOCATION_SECONDS,
            reason=reason,
        )
        await revocations.append(connection, entry, now=int(now))


async def good_standing(connection: AsyncConnection, user: User, client: Client) -> Standing:
    """See that nobody was shut out since the password was checked, and keep it so.

    A hash takes its time: the password may have been replaced while it ran.

    Args:
        connection: From `Database.write`.
        user: As read when the password was checked, or later.
        client: On whose behalf the user comes.

    Raises:
        InvalidGrant: Since then the user or the client was disabled or deleted, or all of the
            user's sessions were ended.
    """
    standing = await sessions.standing(connection, user.id, client.id)
    if (
        standing is None
        or standing.user_disabled
        or standing.client_disabled
        or standing.user_tokens_after != user.tokens_after
    ):
        raise InvalidGrant
    return standing


def _refused() -> InvalidGrant:
    return InvalidGrant("the refresh token is not valid")


def _narrowed(
    granted: str, requested: Collection[str] | None, client: Client, user: User
) -> Collection[str]:
    """Say what a refreshed access token gets: never more than was granted (RFC 6749 section 6).

    What client or user have lost since then is left out.
    """
    scopes = frozenset(granted.split())
    if requested is not None:
        if not scopes.issuperset(requested):
            raise InvalidScope("the scope is wider than what was granted")
        scopes = frozenset(requested)
    scopes &= client.scopes & user.scopes
    if not scopes:
        raise InvalidScope("nothing is left of the scope")
    return scopes
