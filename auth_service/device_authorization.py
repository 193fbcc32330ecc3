"""The device authorization endpoint's decisions: codes are made, looked up and decided about."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from auth_service import audit
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import InvalidGrant, InvalidScope
from auth_service.grants.base import granted_scopes, requested_scopes, require_grant
from auth_service.grants.codes import hash_code
from auth_service.grants.device_code import INTERVAL_SECONDS, DeviceCodeGrant
from auth_service.limits import Limits
from auth_service.models import CLIENT_ONLY_SCOPES, Client, User
from auth_service.sessions import good_standing
from auth_service.store import device_authorizations
from auth_service.store.database import Database

LIFETIME_SECONDS = 600
# No vowels, so that no words come about, and nothing that is read as something else
# (RFC 8628 section 6.1). Eight of twenty letters are 34 bits.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_LETTERS = 8
_MAX_TYPED_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    """What a device is told.

    Args:
        device_code: What it comes back with.
        user_code: What it shows its user.
        expires_in: Seconds both are good for.
        interval: Seconds it waits between two questions.
    """

    device_code: str
    user_code: str
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class PendingDevice:
    """A device that waits for its user's decision.

    Args:
        user_code: As it is shown.
        client: What runs on the device.
        requested: What it asks for; None: all it may have.
    """

    user_code: str
    client: Client
    requested: frozenset[str] | None

    @property
    def scopes(self) -> frozenset[str]:
        """What the user is asked for, at most."""
        return self.client.scopes - CLIENT_ONLY_SCOPES if self.requested is None else self.requested


class DeviceAuthorizations:
    """Makes the codes of devices, and lets users decide about them.

    Args:
        clients: Knows the clients.
        database: Where the requests are kept.
        limits: Count the codes that are asked for, and those that are tried.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        clients: ClientAuthenticator,
        database: Database,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._database = database
        self._limits = limits
        self._clock = clock

    async def start(self, client: Client, *, scope: str | None, caller: Caller) -> DeviceCodes:
        """Make the codes for a device.

        Args:
            client: What runs on it.
            scope: What it asks for; None: all it may have.
            caller: Who asks; each answer costs a row.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidScope: The scope is malformed, or wider than the client may ask for.
            TooManyAttempts: This client began too often from this address.
            StoreUnavailable: The database does not answer.
        """
        require_grant(client, DeviceCodeGrant.name)
        requested_scopes(scope, client)
        await self._limits.check("device", client.id, caller.address)
        device_code = "dc_" + secrets.token_urlsafe(32)
        user_code = _drawn()
        now = int(self._clock())
        async with self._database.write() as connection:
            while not await device_authorizations.add(
                connection,
                code_hash=hash_code(device_code),
                user_code=user_code,
                client_id=client.id,
                scope=scope or "",
                interval=INTERVAL_SECONDS,
                now=now,
                expires_at=now + LIFETIME_SECONDS,
            ):
                user_code = _drawn()
        return DeviceCodes(device_code, _shown(user_code), LIFETIME_SECONDS, INTERVAL_SECONDS)

    async def find(self, typed: str, *, caller: Caller) -> PendingDevice | None:
        """Return the device that waits with a user code, however it was typed.

        Args:
            typed: What the user typed.
            caller: Who asks; codes are guessed from somewhere.

        Raises:
            TooManyAttempts: This address tried too many codes.
            StoreUnavailable: The database does not answer.
        """
        user_code = normalised(typed)
        if user_code is None:
            return None
        await self._limits.check("user_code", caller.address)
        async with self._database.read() as connection:
            found = await device_authorizations.by_user_code(
                connection, user_code, now=int(self._clock())
            )
        client = None if found is None else await self._clients.find(found.client_id)
        if found is None or client is None:
            return None
        try:
            requested = requested_scopes(found.scope or None, client)
        except InvalidScope:  # the client may ask for less than it did when the device began
            return None
        return PendingDevice(_shown(user_code), client, requested)

    async def approve(self, device: PendingDevice, user: User, caller: Caller) -> None:
        """Let the device have its token, for a user who has just logged in.

        Raises:
            InvalidScope: The user may have nothing of what is asked for.
            InvalidGrant: The request has expired, or somebody has decided meanwhile; or since the
                log-in the user was shut out, or the password replaced.
            StoreUnavailable: The database does not answer.
        """
        scopes = granted_scopes(device.requested, device.client, user)
        await self._decide(device, "device_approved", user, " ".join(sorted(scopes)), caller)

    async def deny(self, device: PendingDevice, caller: Caller) -> None:
        """Refuse the device; whoever knows the code may, for it harms nobody else.

        Raises:
            InvalidGrant: The request has expired, or somebody has decided meanwhile.
            StoreUnavailable: The database does not answer.
        """
        await self._decide(device, "device_denied", None, "", caller)

    async def _decide(
        self, device: PendingDevice, event: str, user: User | None, scope: str, caller: Caller
    ) -> None:
        now = self._clock()
        user_code = normalised(device.user_code) or ""
        sub, auth_time = "", None
        async with self._database.write() as connection:
            if user is not None:
                standing = await good_standing(connection, user, device.client)
                # After the last log-out everywhere, be it of this very second.
                sub, auth_time = user.id, max(int(now), standing.user_tokens_after + 1)
            decided = await device_authorizations.decide(
                connection,
                user_code,
                state="denied" if user is None else "approved",
                user_id=None if user is None else user.id,
                scope=scope,
                auth_time=auth_time,
                now=int(now),
            )
            if not decided:
                raise InvalidGrant("the code has expired, or was used already")
            entry = AuditEvent(
                event=event, actor=sub, subject=sub, client_id=device.client.id, caller=caller
            )
            await audit.record(connection, entry, now=now)


def _drawn() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(_LETTERS))


def normalised(typed: str) -> str | None:
    """Return a user code as it is stored; None if what was typed cannot be one."""
    if len(typed) > _MAX_TYPED_CHARACTERS:
        return None
    letters = "".join(character for character in typed.upper() if character.isalnum())
    if len(letters) != _LETTERS or not set(letters) <= set(ALPHABET):
        return None
    return letters


def _shown(user_code: str) -> str:
    half = _LETTERS // 2
    return f"{user_code[:half]}-{user_code[half:]}"
