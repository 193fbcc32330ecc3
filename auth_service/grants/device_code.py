"""Device code (RFC 8628 section 3.4): a device asks until its user has decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.caller import Caller
from auth_service.exceptions import DeviceAnswer, InvalidGrant, InvalidRequest
from auth_service.grants.base import require_grant
from auth_service.grants.codes import MAX_CODE_CHARACTERS, CodeGrant, hash_code
from auth_service.issued import Issued
from auth_service.models import Client
from auth_service.store import device_authorizations
from auth_service.store.device_authorizations import DeviceAuthorization

INTERVAL_SECONDS = 5
_SLOWER_SECONDS = 5
# A device that keeps to its interval may be measured as a little early by a busy network.
_LENIENT_SECONDS = 0.5


class DeviceCodeGrant(CodeGrant):
    """The code of a device, which its user approves on a page of ours."""

    name = "urn:ietf:params:oauth:grant-type:device_code"
    #: Short, for the list of sessions and for metrics.
    kind = "device_code"

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Open the session if the user has approved.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidRequest: There is no device code.
            DeviceAnswer: Not yet, not so fast, refused, or expired.
            InvalidGrant: The code is unknown, of another client, or used.
            StoreUnavailable: The database does not answer; the code is as it was.
        """
        require_grant(client, self.name)
        code = form.get("device_code")
        if code is None:
            raise InvalidRequest("device_code is required")
        if len(code) > MAX_CODE_CHARACTERS:
            raise InvalidGrant("the device code is not valid")
        async with self._database.write() as connection:
            found = await device_authorizations.for_polling(connection, hash_code(code), client.id)
            if found is None or found.state == "used":
                raise InvalidGrant("the device code is not valid")
            answer = await self._note(connection, found)
            if answer is None:
                return await self._start(connection, found, client, kind=self.kind, caller=caller)
        # After the commit, for that the device asked must be remembered.
        raise DeviceAnswer(answer)

    async def _note(self, connection: AsyncConnection, found: DeviceAuthorization) -> str | None:
        """Remember that the device asked; returns why it gets nothing, None if it gets a token."""
        now = self._clock()
        if now >= found.expires_at:
            return "expired_token"
        if found.state == "denied":
            return "access_denied"
        interval = found.interval
        too_fast = (
            found.polled_at is not None and now < found.polled_at + interval - _LENIENT_SECONDS
        )
        if too_fast and found.state == "pending":
            interval += _SLOWER_SECONDS
        await device_authorizations.polled(
            connection,
            found.code_hash,
            at=now,
            interval=interval,
            state="used" if found.state == "approved" else found.state,
        )
        if found.state == "approved":
            return None
        return "slow_down" if too_fast else "authorization_pending"
