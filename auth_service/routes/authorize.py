"""``/authorize``: the page on which a user agrees that a client may act for him (RFC 6749 3.1).

Name and password are typed here each time: the cookie of our own page counts for that page only.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization import PARAMETERS, Authorization, AuthorizationRequest
from auth_service.exceptions import AuthorizationRefused, InvalidRequest, RequestError
from auth_service.login import Login
from auth_service.redirect_uris import source
from auth_service.routes import html
from auth_service.routes.body import MAX_BODY_BYTES
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe_pages, log_refusal
from auth_service.routes.form import MEDIA_TYPE, parse_form
from auth_service.routes.own_forms import FIELD, OwnForms

_DESCRIPTIONS = {
    "client_id": "who asks",
    "redirect_uri": "a registered address of the client's, to the letter",
    "response_type": "code",
    "response_mode": "query, or left out",
    "state": "given back to the client",
    "scope": "words separated by blanks",
    "code_challenge": "SHA-256 of the verifier in base64url (RFC 7636)",
    "code_challenge_method": "S256",
}
_REQUIRED = (
    "client_id",
    "redirect_uri",
    "response_type",
    "code_challenge",
    "code_challenge_method",
)
_QUERY = [
    {
        "name": name,
        "in": "query",
        "required": name in _REQUIRED,
        "description": _DESCRIPTIONS[name],
        "schema": {"type": "string"},
    }
    for name in PARAMETERS
]
_FORM = {
    "required": True,
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": [*_REQUIRED, FIELD],
                "properties": {
                    **{
                        name: {"type": "string", "description": _DESCRIPTIONS[name]}
                        for name in PARAMETERS
                    },
                    FIELD: {"type": "string", "description": "from the page"},
                    "decision": {"type": "string", "enum": ["approve", "deny"]},
                    "username": {"type": "string"},
                    "password": {"type": "string", "format": "password"},
                },
            }
        }
    },
}
_SENT_BACK = "To the client's address, with code, state and iss, or with error."


def authorize_router(*, authorization: Authorization, login: Login, forms: OwnForms) -> APIRouter:
    """Build the routes.

    Args:
        authorization: Decides.
        login: Checks name and password.
        forms: Ties the form to the browser.
    """
    router = APIRouter()

    @router.get(
        "/authorize",
        summary="Ask a user for access",
        response_class=Response,
        responses={
            200: {"description": "The page.", "content": {"text/html": {}}},
            303: {"description": "To the client's address, with error, state and iss."},
            **describe_pages({400: "unknown client or address", 503: "without database"}),
        },
        openapi_extra={"parameters": _QUERY},
    )
    async def ask(request: Request) -> Response:
        """Show who asks for what, and the form to log in."""
        try:
            asked = await authorization.read(_query(request))
        except RequestError as error:
            return _refuse(request, error)
        return _form(request, forms, asked)

    @router.post(
        "/authorize",
        summary="Agree or refuse",
        response_class=Response,
        status_code=303,
        responses={
            303: {"description": _SENT_BACK},
            **describe_pages(
                {
                    400: "unknown client or address; or wrong name or password: the form again",
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
        """Take the page's form, and send the browser back to the client."""
        try:
            form = await forms.read(request)
            asked = await authorization.read(form)
        except RequestError as error:
            return _refuse(request, error)
        if form.get("decision") == "deny":
            return RedirectResponse(authorization.deny(asked), 303)
        name, password = form.get("username", ""), form.get("password", "")
        try:
            if not name or not password:
                raise InvalidRequest("username and password are required")
            login.check_lengths(name, password)
            user = await login.authenticate(name, password, caller=caller_of(request))
            location = await authorization.approve(asked, user, caller_of(request))
        except AuthorizationRefused as error:
            return _refuse(request, error)
        except RequestError as error:
            log_refusal(request, "authorize_refused", error, asked.client)
            return _form(request, forms, asked, username=name, error=error)
        return RedirectResponse(location, 303)

    return router


def _query(request: Request) -> Mapping[str, str]:
    query = request.scope["query_string"]
    if len(query) > MAX_BODY_BYTES:
        raise InvalidRequest("the address is too long")
    return parse_form(query)


def _refuse(request: Request, error: RequestError) -> Response:
    log_refusal(request, "authorize_refused", error, None)
    if isinstance(error, AuthorizationRefused):
        return RedirectResponse(error.location, 303)
    return html.refusal(error)


def _form(
    request: Request,
    forms: OwnForms,
    asked: AuthorizationRequest,
    *,
    username: str = "",
    error: RequestError | None = None,
) -> Response:
    carried = {
        "client_id": asked.client.id,
        "redirect_uri": asked.redirect_uri,
        "response_type": "code",
        "code_challenge": asked.challenge,
        "code_challenge_method": "S256",
    }
    if asked.state is not None:
        carried["state"] = asked.state
    if asked.requested is not None:
        carried["scope"] = " ".join(sorted(asked.requested))
    body = html.consent(
        action="/authorize",
        client_name=asked.client.name or asked.client.id,
        scopes=asked.scopes,
        hidden={**carried, **forms.hidden(request)},
        username=username,
        error=html.explain(error) if error else "",
    )
    answer = html.page(
        "Log in",
        body,
        status=error.status if error else 200,
        targets=[source(asked.redirect_uri)],
        headers=error.headers if error else None,
    )
    return forms.remember(request, answer)
