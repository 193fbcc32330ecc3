"""The short way to the endpoints that every program asks all the time.

The framework looks through its routes, solves dependencies and keeps two stacks of what is to be
closed: twice the work of the endpoint itself, and these have no use for any of it. They are its
routes all the same, which its OpenAPI shows and which answer what comes in another way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from auth_service.exceptions import RequestError
from auth_service.routes.errors import answer_request_error

_Endpoint = Callable[[Request], Awaitable[Response]]


class Shortcut:
    """Calls the endpoints of some routers itself, and leaves everything else to the framework.

    Args:
        app: The framework, which has the same routers.
        routers: Their paths are fixed, and their endpoints take the request and nothing else.
    """

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        self._app = app
        routes = [route for router in routers for route in router.routes]
        self._routes = {
            (method, route.path): (route, cast("_Endpoint", route.endpoint))
            for route in routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = None
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self._routes.get((scope["method"], scope["path"]))
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], endpoint = found  # its place in the metrics
        try:
            answer = await endpoint(Request(scope, receive, send))
        except RequestError as error:
            answer = answer_request_error(error)
        await answer(scope, receive, send)
