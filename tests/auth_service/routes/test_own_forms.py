"""Forms come back from the browser they were given to."""

from __future__ import annotations

import pytest
from fastapi import Request, Response

from auth_service.csrf import FormTokens
from auth_service.exceptions import FormRefused, OriginRefused
from auth_service.routes.own_forms import COOKIE, FIELD, OwnForms

ORIGIN = "https://localhost:8443"
FORMS = OwnForms(tokens=FormTokens([b"k" * 32]), origins=[ORIGIN])


def _request(body: bytes = b"", **headers: str) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = {"content-type": "application/x-www-form-urlencoded", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }
    return Request(scope, receive)


def _given() -> tuple[str, str]:
    """Give a form out; returns its token and the cookie."""
    request, answer = _request(), Response()
    token = FORMS.hidden(request)[FIELD]
    FORMS.remember(request, answer)
    return token, answer.headers["set-cookie"].partition(";")[0]


async def test_a_form_that_was_given_out_is_read() -> None:
    """Without what proved it."""
    token, cookie = _given()

    form = await FORMS.read(_request(f"a=b&{FIELD}={token}".encode(), origin=ORIGIN, cookie=cookie))

    assert form == {"a": "b"}


async def test_another_origin_another_cookie_or_none_is_refused() -> None:
    """Each of them alone would be enough."""
    token, cookie = _given()
    body = f"{FIELD}={token}".encode()

    for headers in ({}, {"origin": "null"}, {"origin": "https://evil.example"}):
        with pytest.raises(OriginRefused):
            await FORMS.read(_request(body, cookie=cookie, **headers))
    for other in ("", _given()[1], f"{COOKIE}=x"):
        with pytest.raises(FormRefused):
            await FORMS.read(_request(body, origin=ORIGIN, cookie=other))
    with pytest.raises(FormRefused):
        await FORMS.read(_request(b"a=b", origin=ORIGIN, cookie=cookie))
