"""A few texts out of a body that may be a form or JSON."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from auth_service.exceptions import InvalidRequest
from auth_service.routes import form, json_object


async def read_members(request: Request, *names: str) -> list[str]:
    """Read members that must all be there; others are ignored.

    Raises:
        InvalidRequest: One is missing, or as `read_form` and `read_object`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == form.MEDIA_TYPE:
        members = await form.read_form(request)
    else:
        members = await json_object.read_object(request)
    if not members.keys() >= set(names):
        raise InvalidRequest(f"needed: {', '.join(names)}")
    return [members[name] for name in names]


def describe_members(*names: str) -> dict[str, Any]:
    """Describe such a body for OpenAPI; every member is a password."""
    schema = {
        "type": "object",
        "required": list(names),
        "properties": {name: {"type": "string", "format": "password"} for name in names},
    }
    kinds = (json_object.MEDIA_TYPE, form.MEDIA_TYPE)
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
