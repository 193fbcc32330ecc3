"""Clients: what an operator orders about them, and what must hold for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import audit, redirect_uris as uris
from auth_service.audit import OPERATOR, AuditEvent
from auth_service.client_keys import read_jwks
from auth_service.clients import hash_secret, new_secret
from auth_service.exceptions import AccountError, ClientConflict
from auth_service.models import CLIENT_ID, CLIENT_ONLY_SCOPES, Client, parse_scope
from auth_service.store import clients
from auth_service.store.database import Database

MAX_NAME_CHARACTERS = 128
MAX_REDIRECT_URIS = 16
MAX_OVERLAP_SECONDS = 30 * 86_400
_PASSWORD = "password"  # noqa: S105 (a grant type)
_CODE = "authorization_code"
# Without a proof nobody is the client, so nothing can be granted to the client itself.
_CONFIDENTIAL_ONLY = frozenset({"client_credentials"})
# No control and no invisible characters: the name is shown to people who decide by it.
_NAME = re.compile(r"[^\W_](?:[\w .,:;!?&+()'/-]*[\w.!?)])?|")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChange:
    """What becomes different; None leaves a thing as it is.

    Args:
        name: What users are shown.
        grants: Grant types it may use.
        scope: What it may be granted, words separated by blanks.
        redirect_uris: Where authorization codes may be sent.
        jwks: The keys of a client that has some.
    """

    name: str | None = None
    grants: Collection[str] | None = None
    scope: str | None = None
    redirect_uris: Sequence[str] | None = None
    jwks: str | None = None


class Registration:
    """Registers clients and changes them.

    Args:
        database: Where they are.
        clock: Seconds since 1970.
        grant_types: Those that this server has.
    """

    def __init__(
        self, *, database: Database, clock: Callable[[], float], grant_types: Collection[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._grant_types = frozenset(grant_types)

    async def add(
        self,
        client_id: str,
        *,
        grants: Collection[str],
        scope: str,
        secret_hash: str | None = None,
        jwks: str | None = None,
        name: str = "",
        redirect_uris: Sequence[str] = (),
    ) -> Client:
        """Register a client: with a secret, with keys, or public with neither.

        Args:
            client_id: 1 to 56 letters, digits, hyphens and underscores.
            grants: Grant types it may use.
            scope: What it may be granted, words separated by blanks.
            secret_hash: From `hash_secret`.
            jwks: A JSON Web Key Set with its public keys.
            name: What users are shown; empty: its id.
            redirect_uris: Where authorization codes may be sent.

        Raises:
            ClientConflict: A client of this id exists.
            AccountError: Something is malformed or does not go together.
        """
        wanted = Client(
            id=client_id,
            secret_hash=secret_hash,
            grants=frozenset(grants),
            scopes=_scopes(scope),
            disabled=False,
            created_at=int(self._clock()),
            name=name,
            jwks=jwks,
            redirect_uris=tuple(redirect_uris),
        )
        self._check(wanted)
        async with self._database.write() as connection:
            await clients.add(connection, wanted)
            await self._record(connection, "client_added", wanted)
        return wanted

    async def ensure_public(
        self, client_id: str, *, grants: Collection[str], scope: str
    ) -> Client | None:
        """Return the enabled public client of this id, made now if there is none.

        Returns:
            None if the client of this id is of another kind, or disabled. What an existing one may
            do is left as it is.
        """
        client = await self.find(client_id)
        if client is None:
            client = Client(
                id=client_id,
                secret_hash=None,
                grants=frozenset(grants),
                scopes=_scopes(scope),
                disabled=False,
                created_at=int(self._clock()),
            )
            try:
                # No order of anybody's, so that the audit has nothing to tell.
                async with self._database.write() as connection:
                    await clients.add(connection, client)
            except ClientConflict:  # another worker was faster
                client = await self.find(client_id)
        return client if client is not None and client.public and not client.disabled else None

    async def change(self, client_id: str, change: ClientChange) -> Client:
        """Change a client; tokens that are out live on until they expire.

        Raises:
            AccountError: There is no such client, or the change is not acceptable.
        """
        async with self._database.write() as connection:
            known = await _known(connection, client_id)
            if change.jwks is not None and known.jwks is None:
                raise AccountError("this client does not prove itself by keys")
            wanted = replace(
                known,
                name=known.name if change.name is None else change.name,
                grants=known.grants if change.grants is None else frozenset(change.grants),
                scopes=known.scopes if change.scope is None else _scopes(change.scope),
                redirect_uris=(
                    known.redirect_uris
                    if change.redirect_uris is None
                    else tuple(change.redirect_uris)
                ),
                jwks=known.jwks if change.jwks is None else change.jwks,
            )
            self._check(wanted)
            await clients.replace(connection, wanted)
            await self._record(connection, "client_changed", wanted)
        return wanted

    async def rotate_secret(self, client_id: str, *, overlap_seconds: int) -> str:
        """Make a new secret; the present one counts for a while beside it.

        Args:
            client_id: Which client.
            overlap_seconds: How long; 0: the present one is refused at once.

        Returns:
            The secret, which nobody can show again.

        Raises:
            AccountError: There is no such client, it has no secret, or the overlap is too long.
        """
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            raise AccountError(f"secrets overlap for at most {MAX_OVERLAP_SECONDS} seconds")
        secret = new_secret()
        until = int(self._clock()) + overlap_seconds
        async with self._database.write() as connection:
            known = await _known(connection, client_id)
            if known.secret_hash is None:
                raise AccountError("this client has no secret")
            wanted = replace(
                known,
                secret_hash=hash_secret(secret),
                previous_secret_hash=known.secret_hash if overlap_seconds else None,
                previous_secret_until=until if overlap_seconds else None,
            )
            await clients.replace(connection, wanted)
            await self._record(connection, "client_secret_rotated", wanted)
        return secret

    async def find(self, client_id: str) -> Client | None:
        """Return a client, disabled or not."""
        async with self._database.read() as connection:
            return await clients.by_id(connection, client_id)

    async def all(self) -> list[Client]:
        """Return every client, by id."""
        async with self._database.read() as connection:
            return await clients.every(connection)

    async def grants_in_use(self) -> frozenset[str]:
        """Return the grant types that this server has and tells about.

        The password grant is told about only where a client has it: RFC 9700 section 2.4 forbids
        it, so nobody should come upon it by looking around.
        """
        async with self._database.read() as connection:
            if await clients.any_with_grant(connection, _PASSWORD):
                return self._grant_types
        return self._grant_types - {_PASSWORD}

    async def _record(self, connection: AsyncConnection, event: str, client: Client) -> None:
        entry = AuditEvent(event=event, actor=OPERATOR, subject=client.id, client_id=client.id)
        await audit.record(connection, entry, now=self._clock())

    def _check(self, client: Client) -> None:
        if CLIENT_ID.fullmatch(client.id) is None:
            raise AccountError("a client id has 1 to 56 letters, digits, hyphens and underscores")
        if len(client.name) > MAX_NAME_CHARACTERS or _NAME.fullmatch(client.name) is None:
            raise AccountError(
                f"a client's name has at most {MAX_NAME_CHARACTERS} letters, digits, blanks"
                " and plain marks, and begins with a letter or digit"
            )
        if not client.grants <= self._grant_types:
            raise AccountError(f"grant types are: {', '.join(sorted(self._grant_types))}")
        if client.jwks is not None:
            if client.secret_hash is not None:
                raise AccountError("a client proves itself by a secret or by keys, not by both")
            read_jwks(client.jwks)
        if client.public:
            if client.grants & _CONFIDENTIAL_ONLY:
                raise AccountError("the grant client_credentials is for clients with a secret")
            if client.scopes & CLIENT_ONLY_SCOPES:
                raise AccountError("the scopes api and introspect are for clients with a secret")
        if len(client.redirect_uris) > MAX_REDIRECT_URIS:
            raise AccountError(f"a client has at most {MAX_REDIRECT_URIS} redirect URIs")
        for uri in client.redirect_uris:
            uris.check(uri)
        if (_CODE in client.grants) != bool(client.redirect_uris):
            raise AccountError("redirect URIs and the grant authorization_code go together")


async def _known(connection: AsyncConnection, client_id: str) -> Client:
    client = await clients.by_id(connection, client_id, lock=True)
    if client is None:
        raise AccountError("there is no client of this id")
    return client


def _scopes(scope: str) -> frozenset[str]:
    scopes = parse_scope(scope)
    if scopes is None:
        raise AccountError("a scope is words of printable ASCII separated by single blanks")
    return scopes
