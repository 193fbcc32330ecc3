"""npm's oauth4webapi and jose against the token service, with people in Debian's Chromium."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.async_api import Browser, expect

from auth_service.app import open_service
from auth_service.clients import hash_secret
from auth_service.grants.device_code import DeviceCodeGrant
from auth_service.settings import Settings
from tests.integration import npm
from tests.integration.browser import chromium
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[1] / "sdk" / "oauth"
SECONDS = 90
COORDINATE_BYTES = 32


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages installed as locked; their absence is a failure."""
    return npm.node(FOLDER)


def _private_jwk() -> dict[str, str]:
    """Make the key of a client that signs."""
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = numbers.public_numbers

    def encoded(number: int) -> str:
        text = base64.urlsafe_b64encode(number.to_bytes(COORDINATE_BYTES, "big"))
        return text.rstrip(b"=").decode()

    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": "k1",
        "x": encoded(public.x),
        "y": encoded(public.y),
        "d": encoded(numbers.private_value),
    }


async def _register(server: Embedded, jwk: dict[str, str], wanted: dict[str, str]) -> None:
    """Register the clients beside the running server, as an operator does."""
    settings = Settings(
        issuer=server.url,
        database_url=f"sqlite+aiosqlite:///{server.local / 'auth.db'}",
        keys_dir=server.local / "keys",
    )
    public = {name: value for name, value in jwk.items() if name != "d"}
    async with open_service(settings) as service:
        add = service.registration.add
        for client_id, secret in wanted.items():
            await add(
                client_id,
                grants=["client_credentials"],
                scope="introspect",
                secret_hash=hash_secret(secret),
            )
        await add(
            "signer",
            grants=["client_credentials"],
            scope="api",
            jwks=json.dumps({"keys": [public]}),
        )
        await add(
            "cli",
            name="Command line",
            grants=["password", "refresh_token", "authorization_code", DeviceCodeGrant.name],
            scope="connect",
            redirect_uris=["http://127.0.0.1/cb"],
        )


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    while line := await stream.readline():
        yield json.loads(line)


async def _agree(browser: Browser, server: Embedded, order: dict[str, str]) -> None:
    """Open the page, read who asks, log in."""
    complaints: list[str] = []
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    await page.goto(order["visit"])
    await expect(page.get_by_role("heading", name="Command line asks for access")).to_be_visible()
    await page.get_by_label("User name").fill("alice")
    await page.get_by_label("Password").fill("a wrong one")
    await page.get_by_role("button", name="Log in and allow").click()
    await expect(page.get_by_role("alert")).to_have_text("Wrong user name or password.")
    complaints.clear()  # the browser notes the status 400
    await page.get_by_label("Password").fill(server.passwords["alice"])
    await page.get_by_role("button", name="Log in and allow").click()
    told = "Welcome back" if order["by"] == "code" else "You can go back to your device"
    await expect(page.get_by_text(told)).to_be_visible()
    assert [text for text in complaints if "Content Security Policy" in text] == []
    await context.close()


async def test_a_strict_client_completes_every_grant(node: str, server: Embedded) -> None:
    """Discovery, every way to authenticate, every grant, and what comes after."""
    jwk = _private_jwk()
    # Characters that must be form-encoded in the header (RFC 6749 section 2.3.1).
    wanted = {"basic": f"a+b %:&{secrets.token_urlsafe(16)}", "post": secrets.token_urlsafe(32)}
    await _register(server, jwk, wanted)
    given = {
        "issuer": server.url,
        "audience": "drawbridge",
        "username": "alice",
        "password": server.passwords["alice"],
        "sub": await asyncio.to_thread(server.subject, "alice"),
        "secrets": wanted,
        "privateJwk": jwk,
    }
    process = await asyncio.create_subprocess_exec(
        node,
        str(FOLDER / "grants.mjs"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.local / "ca.pem")},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    done: list[str] = []
    try:
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
        async with asyncio.timeout(SECONDS), chromium() as browser:
            async for line in _lines(process.stdout):
                if "visit" in line:
                    await _agree(browser, server, line)
                else:
                    done = line["done"]
            complaint = (await process.stderr.read()).decode()
            status = await process.wait()
    except FileNotFoundError as error:
        pytest.fail(str(error))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert (status, complaint) == (0, "")
    assert done == [
        "client_credentials basic",
        "client_credentials post",
        "client_credentials signer",
        "password",
        "refresh_token",
        "revocation",
        "introspection",
        "authorization_code",
        DeviceCodeGrant.name,
    ]
