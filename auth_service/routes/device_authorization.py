"""``POST /device_authorization``: a device begins (RFC 8628 section 3.1)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.clients import ClientAuthenticator
from auth_service.device_authorization import DeviceAuthorizations
from auth_service.exceptions import RequestError
from auth_service.models import Client
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.form import CLIENT_FIELDS, MEDIA_TYPE, read_form


class DeviceAuthorizationAnswer(BaseModel):
    """What a device is told (RFC 8628 section 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


_FORM = {
    "required": True,
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": [],
                "properties": {
                    "scope": {"type": "string", "description": "words separated by blanks"},
                    **CLIENT_FIELDS,
                },
            }
        }
    },
}


def device_authorization_router(
    *, clients: ClientAuthenticator, devices: DeviceAuthorizations, issuer: str
) -> APIRouter:
    """Build the route.

    Args:
        clients: Says which client asks.
        devices: Makes the codes.
        issuer: Addresses begin with it.
    """
    router = APIRouter()
    page = f"{issuer}/device"

    @router.post(
        "/device_authorization",
        summary="Get the codes for a device without a browser",
        response_model=None,
        responses={
            200: {"model": DeviceAuthorizationAnswer, "description": "The codes."},
            **describe(
                {
                    400: "invalid_request, invalid_scope or unauthorized_client",
                    401: "invalid_client",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too many attempts; Retry-After says when to come again",
                    503: "without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": _FORM},
    )
    async def device_authorization(request: Request) -> JSONResponse:
        """Answer with a code to ask with, and one that the user types on the page."""
        client: Client | None = None
        try:
            form = await read_form(request)
            authorization = request.headers.getlist("authorization")
            caller = caller_of(request)
            client = await clients.identify(
                authorization=authorization, form=form, address=caller.address
            )
            codes = await devices.start(client, scope=form.get("scope"), caller=caller)
        except RequestError as error:
            log_refusal(request, "device_authorization_refused", error, client)
            raise
        answer = DeviceAuthorizationAnswer(
            device_code=codes.device_code,
            user_code=codes.user_code,
            verification_uri=page,
            verification_uri_complete=f"{page}?user_code={codes.user_code}",
            expires_in=codes.expires_in,
            interval=codes.interval,
        )
        return JSONResponse(answer.model_dump())

    return router
