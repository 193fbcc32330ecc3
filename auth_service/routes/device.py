"""``/device``: the page on which a user approves a device that has no browser (RFC 8628 3.3).

Who approves types name and password: the cookie of our own page counts for that page only. The page
says what runs on the device, because a stranger may have sent the user here with his own code.
"""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request, Response

from auth_service.device_authorization import DeviceAuthorizations, PendingDevice
from auth_service.exceptions import InvalidRequest, RequestError
from auth_service.login import Login
from auth_service.routes import html
from auth_service.routes.body import MAX_BODY_BYTES
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe_pages, log_refusal
from auth_service.routes.form import MEDIA_TYPE, parse_form
from auth_service.routes.own_forms import FIELD, OwnForms

_UNKNOWN = "This code is not known, or not any more. Your device can show a new one."
_USER_CODE = {"type": "string", "description": "what the device shows"}
_FORM = {
    "required": True,
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["user_code", FIELD],
                "properties": {
                    "user_code": _USER_CODE,
                    FIELD: {"type": "string", "description": "from the page"},
                    "decision": {"type": "string", "enum": ["approve", "deny"]},
                    "username": {"type": "string"},
                    "password": {"type": "string", "format": "password"},
                },
            }
        }
    },
}


def device_router(*, devices: DeviceAuthorizations, login: Login, forms: OwnForms) -> APIRouter:
    """Build the routes.

    Args:
        devices: Finds devices and decides about them.
        login: Checks name and password.
        forms: Ties the form to the browser.
    """
    router = APIRouter()

    @router.get(
        "/device",
        summary="Enter the code of a device",
        response_class=Response,
        responses={
            200: {"description": "The page.", "content": {"text/html": {}}},
            **describe_pages(
                {
                    400: "the code is not known",
                    429: "too many codes; Retry-After says when to come again",
                    503: "without database",
                }
            ),
        },
        openapi_extra={
            "parameters": [
                {"name": "user_code", "in": "query", "required": False, "schema": _USER_CODE}
            ]
        },
    )
    async def ask(request: Request) -> Response:
        """Ask for the code; with one, show what asks for access, and the form to log in."""
        try:
            query = request.scope["query_string"]
            if len(query) > MAX_BODY_BYTES:
                raise InvalidRequest("the address is too long")
            typed = parse_form(query).get("user_code")
            if typed is None:
                return _ask_code()
            device = await devices.find(typed, caller=caller_of(request))
        except RequestError as error:
            return _refuse(request, error)
        return _ask_code(typed) if device is None else _form(request, forms, device)

    @router.post(
        "/device",
        summary="Approve or refuse a device",
        response_class=Response,
        responses={
            200: {"description": "Approved or refused.", "content": {"text/html": {}}},
            **describe_pages(
                {
                    400: "the code is not known; or wrong name or password: the form again",
                    403: "the form is of another site's page or another browser's",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too many attempts; Retry-After says when to come again",
                    503: "overloaded or without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": _FORM},
    )
    async def decide(request: Request) -> Response:
        """Take the page's form."""
        caller = caller_of(request)
        try:
            form = await forms.read(request)
            typed = form.get("user_code", "")
            device = await devices.find(typed, caller=caller)
            if device is None:
                return _ask_code(typed)
            if form.get("decision") == "deny":
                await devices.deny(device, caller)
                return html.message("Refused", "The device gets no access. You can close this.")
        except RequestError as error:
            return _refuse(request, error)
        name, password = form.get("username", ""), form.get("password", "")
        try:
            if not name or not password:
                raise InvalidRequest("username and password are required")
            login.check_lengths(name, password)
            user = await login.authenticate(name, password, caller=caller)
        except RequestError as error:
            log_refusal(request, "device_refused", error, device.client)
            return _form(request, forms, device, username=name, error=error)
        try:
            await devices.approve(device, user, caller)
        except RequestError as error:
            return _refuse(request, error)
        return html.message("Done", "You can go back to your device and close this.")

    return router


def _refuse(request: Request, error: RequestError) -> Response:
    log_refusal(request, "device_refused", error, None)
    return html.refusal(error)


def _ask_code(wrong: str | None = None) -> Response:
    error = "" if wrong is None else _UNKNOWN
    described = "" if wrong is None else ' aria-describedby="error"'
    body = (
        '<form method="get" action="/device" aria-labelledby="asks">\n'
        '<h2 id="asks">Connect a device</h2>\n'
        f'<p id="error" role="alert">{escape(error)}</p>\n'
        '<label for="user_code">Code that the device shows</label>\n'
        '<input id="user_code" name="user_code" type="text" autocomplete="off"'
        ' autocapitalize="characters" spellcheck="false" maxlength="64" required autofocus'
        f' value="{escape(wrong or "")}"{described}>\n'
        '<button type="submit">Continue</button>\n</form>'
    )
    return html.page("Connect a device", body, status=200 if wrong is None else 400)


def _form(
    request: Request,
    forms: OwnForms,
    device: PendingDevice,
    *,
    username: str = "",
    error: RequestError | None = None,
) -> Response:
    body = html.consent(
        action="/device",
        client_name=device.client.name or device.client.id,
        scopes=device.scopes,
        hidden={"user_code": device.user_code, **forms.hidden(request)},
        note=f"Go on only if a device of your own shows {device.user_code} at this moment,"
        " and nobody sent you this code.",
        username=username,
        error=html.explain(error) if error else "",
    )
    answer = html.page(
        "Connect a device",
        body,
        status=error.status if error else 200,
        headers=error.headers if error else None,
    )
    return forms.remember(request, answer)
