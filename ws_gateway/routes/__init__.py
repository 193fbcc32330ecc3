"""The edge of the gateway: HTTP and the WebSocket handshake."""

from __future__ import annotations
