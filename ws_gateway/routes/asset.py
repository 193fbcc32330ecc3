"""A file as it is sent: read once, kept by browsers, and asked about each time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi import Request, Response

__all__ = ["SECURITY", "Asset"]

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The headers of everything that a browser may show."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Bytes with a name of their own.

    Attributes:
        content: The bytes.
        media_type: What they are.
        etag: Their name at this very content (RFC 9110 section 8.8.3).
    """

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Asset:
        """Name what is to be sent."""
        return cls(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        """Send it, or say that the browser has it: 304."""
        headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": self.etag}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)
