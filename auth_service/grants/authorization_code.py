"""Authorization code with PKCE (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import audit, pkce
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant, InvalidRequest
from auth_service.grants.base import require_grant
from auth_service.grants.codes import MAX_CODE_CHARACTERS, CodeGrant, hash_code
from auth_service.identifiers import new_identifier
from auth_service.issued import Issued
from auth_service.models import Client
from auth_service.store import authorization_codes


class AuthorizationCodeGrant(CodeGrant):
    """The code that a user's browser brought the client.

    It is good once, whatever comes of it: a code that comes with the wrong verifier or address has
    been intercepted. If it comes again, the session that it was exchanged for ends, for one of the
    two who had it is a thief (RFC 6749 section 4.1.2).
    """

    name = "authorization_code"

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Open the session that a user agreed to.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidRequest: A parameter is missing or malformed.
            InvalidGrant: The code is unknown, of another client, expired or used; or the address
                or the verifier is another one; or the user may not log in any more.
            StoreUnavailable: The database does not answer; the code is as it was.
        """
        require_grant(client, self.name)
        code, redirect_uri = form.get("code"), form.get("redirect_uri")
        verifier = form.get("code_verifier")
        if code is None or redirect_uri is None or verifier is None:
            raise InvalidRequest("code, redirect_uri and code_verifier are required")
        if not pkce.is_verifier(verifier):
            raise InvalidRequest("code_verifier has 43 to 128 unreserved characters")
        if len(code) > MAX_CODE_CHARACTERS:
            raise InvalidGrant("the code is not valid")
        code_hash, sid = hash_code(code), new_identifier()
        # One transaction: if anything fails before its end, the code is still good.
        async with self._database.write() as connection:
            found = await authorization_codes.use(
                connection, code_hash, client.id, sid=sid, now=int(self._clock())
            )
            if found is None:
                await self._end_if_used(connection, code_hash, client, caller)
            elif found.redirect_uri == redirect_uri and pkce.proves(verifier, found.challenge):
                return await self._start(
                    connection, found, client, kind=self.name, caller=caller, sid=sid
                )
        raise InvalidGrant("the code is not valid")

    async def _end_if_used(
        self, connection: AsyncConnection, code_hash: str, client: Client, caller: Caller
    ) -> None:
        sid = await authorization_codes.exchanged_for(connection, code_hash, client.id)
        if sid is None:
            return
        event = AuditEvent(
            event="code_reuse_detected",
            outcome="refused",
            subject=sid,
            client_id=client.id,
            caller=caller,
        )
        await audit.record(connection, event, now=self._clock())
        await self._sessions.end(connection, sid, reason="reuse", actor="", caller=caller)
