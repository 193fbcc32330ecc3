"""The way in: the application of a gateway, whose handshakes go straight to their route."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from ws_gateway.routes import handshake_clock


class Application(FastAPI):
    """A FastAPI application that knows the one route of its handshakes by heart.

    Its middlewares and its router are made for requests of any kind: telemetry, limits of bodies,
    a page for errors, a look at each route. A handshake has no use for them, and they are a tenth
    of the calls of Python until somebody is in (24 of 225). Its dependencies and its
    exception handlers are the same either way.
    """

    _handshakes: ASGIApp | None = None
    _path = ""

    def take_handshakes(
        self, path: str, *, behind: Callable[[ASGIApp], ASGIApp] | None = None
    ) -> None:
        """Send the handshakes of a path straight to its route.

        Args:
            path: It, which has a WebSocket route and no parameters.
            behind: A middleware that they pass nevertheless.
        """
        (self._route,) = (
            route
            for route in self.router.routes
            if isinstance(route, APIWebSocketRoute) and route.path == path
        )
        self._path = path
        self._handshakes = self._shake_hands if behind is None else behind(self._shake_hands)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if (
            self._handshakes is not None
            and scope["type"] == "websocket"
            and scope["path"] == self._path
            and not scope.get("root_path")
        ):
            await self._handshakes(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _shake_hands(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake_clock.begin(scope)
        # What Starlette's application, exception middleware and router leave there for a route.
        scope["app"] = self
        scope["starlette.exception_handlers"] = self.exception_handlers, {}
        scope["route"] = self._route
        scope["endpoint"] = self._route.endpoint
        scope["path_params"] = {}
        await self._route.app(scope, receive, send)
