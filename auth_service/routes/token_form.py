"""The form of a request about one token: to revoke it, to look at it."""

from __future__ import annotations

from typing import Any

from auth_service.routes.form import MEDIA_TYPE


def describe_form() -> dict[str, Any]:
    """Describe the body for OpenAPI; it is read by hand, so the framework cannot."""
    secret = {"type": "string", "format": "password"}
    return {
        "required": True,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "properties": {
                        "token": secret,
                        "token_type_hint": {"type": "string", "description": "is not needed"},
                        "client_id": {"type": "string"},
                        "client_secret": secret,
                    },
                }
            }
        },
    }
