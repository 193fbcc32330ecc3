"""Orders about clients."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from auth_service.app import Service
from auth_service.clients import hash_secret
from auth_service.exceptions import AccountError, ClientConflict, InvalidClient
from auth_service.registration import ClientChange
from auth_service.store.tables import AUDIT_EVENTS
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

CODE: dict[str, Any] = {
    "grants": ["authorization_code"],
    "scope": "connect",
    "redirect_uris": ["https://app.example/cb"],
}
BOT: dict[str, Any] = {
    "grants": ["client_credentials"],
    "scope": "api",
    "secret_hash": hash_secret("s"),
}


async def _events(service: Service) -> list[str]:
    async with service.database.read() as connection:
        return list((await connection.execute(select(AUDIT_EVENTS.c.event))).scalars())


async def test_clients_are_registered_once_and_listed(service: Service) -> None:
    """And the audit knows."""
    web = await service.registration.add("web", name="Web app", **CODE)

    with pytest.raises(ClientConflict):
        await service.registration.add("web", **CODE)
    assert web.public
    assert [client.id for client in await service.registration.all()] == ["chat", "web"]
    assert await service.registration.find("web") == web
    assert (await _events(service))[-1] == "client_added"


@pytest.mark.parametrize(
    ("client_id", "order"),
    [
        ("a b", CODE),
        ("x" * 57, CODE),
        ("c", {**CODE, "grants": ["magic"]}),
        ("c", {**CODE, "scope": ""}),
        ("c", {**CODE, "name": "<script>"}),
        ("c", {**CODE, "name": "\u202eevil"}),
        ("c", {**CODE, "name": "x" * 129}),
        ("c", {**CODE, "redirect_uris": []}),
        ("c", {**CODE, "redirect_uris": ["http://app.example/cb"]}),
        ("c", {**CODE, "redirect_uris": [f"https://a.example/{n}" for n in range(17)]}),
        ("c", {**CODE, "grants": ["password"]}),
        ("c", {**CODE, "scope": "connect api"}),
        ("c", {**CODE, "scope": "introspect"}),
        ("c", {**BOT, "secret_hash": None}),
        ("c", {**BOT, "jwks": "{}"}),
        ("c", {**BOT, "secret_hash": None, "jwks": "{}"}),
    ],
)
async def test_what_does_not_go_together_is_refused(
    service: Service, client_id: str, order: dict[str, Any]
) -> None:
    """Public clients get nothing for themselves; codes need an address."""
    with pytest.raises(AccountError):
        await service.registration.add(client_id, **order)


async def test_a_change_is_checked_like_a_registration(service: Service) -> None:
    """And leaves alone what it does not name."""
    web = await service.registration.add("web", **CODE)

    changed = await service.registration.change("web", ClientChange(name="Web"))
    assert (changed.name, changed.redirect_uris) == ("Web", web.redirect_uris)
    assert await service.registration.find("web") == changed
    for client_id, change in (
        ("nobody", ClientChange(name="x")),
        ("web", ClientChange(scope="api")),
        ("web", ClientChange(redirect_uris=[])),
        ("web", ClientChange(jwks="{}")),
    ):
        with pytest.raises(AccountError):
            await service.registration.change(client_id, change)
    assert await service.registration.find("web") == changed


async def test_two_secrets_count_while_one_is_replaced(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards the old one does not (O16)."""
    await service.registration.add("bot", **BOT)
    secret = await service.registration.rotate_secret("bot", overlap_seconds=60)

    async def identify(presented: str) -> str:
        form = {"client_id": "bot", "client_secret": presented}
        return (await service.clients.identify(authorization=[], form=form)).id

    assert [await identify(one) for one in ("s", secret)] == ["bot", "bot"]
    later = service.clock() + 60
    monkeypatch.setattr(service.clients, "_clock", lambda: later)
    assert await identify(secret) == "bot"
    with pytest.raises(InvalidClient):
        await identify("s")


async def test_a_leaked_secret_is_replaced_at_once(service: Service) -> None:
    """Without an overlap."""
    await service.registration.add("bot", **BOT)
    await service.registration.rotate_secret("bot", overlap_seconds=0)

    with pytest.raises(InvalidClient):
        await service.clients.identify(
            authorization=[], form={"client_id": "bot", "client_secret": "s"}
        )
    for client_id, overlap in (("chat", 0), ("nobody", 0), ("bot", -1), ("bot", 10**9)):
        with pytest.raises(AccountError):
            await service.registration.rotate_secret(client_id, overlap_seconds=overlap)


async def test_the_default_client_is_left_as_it_is(service: Service) -> None:
    """An operator may have taken a grant from it; a client of another kind is none."""
    await service.registration.change("chat", ClientChange(grants=[]))
    await service.registration.add("bot", **BOT)

    chat = await service.registration.ensure_public("chat", grants=["password"], scope="connect")
    assert chat is not None
    assert chat.grants == frozenset()
    assert await service.registration.ensure_public("bot", grants=[], scope="connect") is None
