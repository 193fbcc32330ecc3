"""A group of Django Channels, in the memory of one process."""

from __future__ import annotations

import django
from django.conf import settings
from typing_extensions import override

settings.configure(
    SECRET_KEY="of no use here",
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402 - wants settings
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

GROUP = "room"


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]  # its environment is not the linter's
    """A client in the group."""

    @override
    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    @override
    async def disconnect(self, _code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    @override
    async def receive(self, text_data: str) -> None:
        """Pass what one client says on to all."""
        await self.channel_layer.group_send(GROUP, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, str]) -> None:
        """Be told."""
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("", Member.as_asgi())])}
)
