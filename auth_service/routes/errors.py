"""How refusals look: one small JSON object, whatever went wrong and wherever."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from auth_service.exceptions import InvalidRequest, RequestError
from auth_service.models import Client

_log = logging.getLogger(__name__)
METHOD_NOT_ALLOWED = 405
_WORDS = {404: "not_found", 405: "method_not_allowed"}


class ErrorAnswer(BaseModel):
    """The body of every refusal (RFC 6749 section 5.2)."""

    error: str
    error_description: str | None = None


def describe(answers: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route for OpenAPI: status → what it means."""
    return {
        status: {"model": ErrorAnswer, "description": description}
        for status, description in answers.items()
    }


def describe_pages(answers: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that refuses by a page for people."""
    return {
        status: {"content": {"text/html": {}}, "description": description}
        for status, description in answers.items()
    }


def install_error_answers(app: FastAPI) -> None:
    """Let ``app`` answer our errors, its own 404 and 405, and never with 422."""
    app.add_exception_handler(RequestError, _answer_request_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)


def log_refusal(request: Request, event: str, error: RequestError, client: Client | None) -> None:
    """Write one line per refusal: who and why, and nothing of what was typed.

    Args:
        request: Whose address is logged.
        event: The line's name.
        error: Why.
        client: Who asked, if that is known.
    """
    fields = {
        "error": error.error,
        "description": error.description,
        "address": request.client.host if request.client else "",
    }
    if client is not None:
        fields["client_id"] = client.id
    _log.warning(event, extra=fields)


def answer_request_error(error: RequestError) -> JSONResponse:
    """Return a refusal as `ErrorAnswer` says."""
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, error.status, headers=error.headers)


async def _answer_request_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)  # noqa: S101 (for the type checker)
    return answer_request_error(error)


async def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
    word = _WORDS.get(error.status_code, "error")
    if error.status_code == METHOD_NOT_ALLOWED:
        # Somebody sends a form, and a password perhaps, in a way that ends up in logs.
        address = request.client.host if request.client else ""
        _log.warning("method_refused", extra={"method": request.method, "address": address})
    return JSONResponse({"error": word}, error.status_code, headers=error.headers)


async def _answer_validation_error(_: Request, __: Exception) -> JSONResponse:
    """Replace the framework's 422, whose text repeats the input, a password perhaps."""
    return answer_request_error(InvalidRequest("a parameter is malformed"))
