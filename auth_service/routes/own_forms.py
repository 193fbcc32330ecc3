"""Forms of our own pages: which browser may send them, and what they carry."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request, Response

from auth_service.csrf import FormTokens
from auth_service.exceptions import FormRefused, OriginRefused
from auth_service.routes.form import read_form

COOKIE = "__Host-drawbridge-form"
FIELD = "form_token"


class OwnForms:
    """Gives out forms and takes them back from the same browser only.

    Args:
        tokens: Makes and checks what ties a form to a browser.
        origins: Where our pages are, as browsers write ``Origin``.
    """

    def __init__(self, *, tokens: FormTokens, origins: Collection[str]) -> None:
        self._tokens = tokens
        self._origins = frozenset(origins)

    def hidden(self, request: Request) -> dict[str, str]:
        """Return the field that a form for this browser needs."""
        return {FIELD: self._tokens.token(self._cookie(request))}

    def remember(self, request: Request, answer: Response) -> Response:
        """Set the cookie that `hidden` goes with; a browser that has one keeps it.

        Two pages side by side thus share it. ``Lax`` lets it come along when another site leads
        here, which ``Strict`` would not, so that every visit would take the other pages' away.
        """
        answer.set_cookie(
            COOKIE, self._cookie(request), path="/", secure=True, httponly=True, samesite="lax"
        )
        return answer

    async def read(self, request: Request) -> dict[str, str]:
        """Read a form that came back.

        Raises:
            OriginRefused: Another site's page sent it.
            FormRefused: It was made for another browser, or the browser keeps no cookies.
            InvalidRequest: It is malformed.
        """
        named = request.headers.getlist("origin")
        if len(named) != 1 or named[0] not in self._origins:
            raise OriginRefused
        form = await read_form(request)
        if not self._tokens.agrees(form.pop(FIELD, None), request.cookies.get(COOKIE)):
            raise FormRefused
        return form

    def _cookie(self, request: Request) -> str:
        """Return the cookie's value, the same one for the whole of a request."""
        if not hasattr(request.state, "form_cookie"):
            request.state.form_cookie = self._tokens.cookie(request.cookies.get(COOKIE))
        return str(request.state.form_cookie)
