"""The composition root: which parts there are and how they meet.

    settings ──► Service: store · hasher · keys · tokens · metrics
                    │
                    ├──► create_app           token · session · users · metadata · pages   (public)
                    └──► create_internal_app  health · metrics                           (internal)

Both applications share one service, so one process opens the database and the keys once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from auth_service import __version__, logs
from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import (
    AccountError,
    ClientConflict,
    ConfigurationError,
    StoreUnavailable,
    UsernameTaken,
)
from auth_service.grants import Grant, PasswordGrant
from auth_service.keys import load_keys
from auth_service.metrics import Metrics
from auth_service.models import CLIENT_ID, CLIENT_ONLY_SCOPES, Client, User, Username, parse_scope
from auth_service.passwords import (
    POLICY,
    HashParameters,
    PasswordHasher,
    check_new_password,
    require_libpass,
)
from auth_service.routes.docs import docs_router
from auth_service.routes.envelope import Envelope
from auth_service.routes.errors import install_error_answers
from auth_service.routes.health import health_router
from auth_service.routes.metadata import metadata_router
from auth_service.routes.page import page_router
from auth_service.routes.session import session_router
from auth_service.routes.token import token_router
from auth_service.routes.users import users_router
from auth_service.settings import Settings
from auth_service.store import Store
from auth_service.tokens import AccessTokens

_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Service:
    """The parts of one authorization server, and the orders an operator gives it.

    Building loads the signing keys; `open` does what needs the database. Prefer `open_service`,
    which does both and closes at the end.

    Args:
        settings: What the operator chose.
        clock: Seconds since 1970.
        hash_parameters: The cost of a password hash.

    Raises:
        ConfigurationError: The keys or the installed packages are not usable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        hash_parameters: HashParameters = POLICY,
    ) -> None:
        require_libpass()
        self.settings = settings
        self.clock = clock
        self.started = False
        self.metrics = Metrics()
        self.keys = load_keys(settings.keys_dir, settings.signing_algorithm)
        self.tokens = AccessTokens(
            keys=self.keys,
            issuer=settings.issuer,
            audience=settings.audience,
            lifetime_seconds=settings.access_token_seconds,
        )
        self.store = Store(settings.database_url)
        self.hasher = PasswordHasher(
            threads=settings.hash_threads,
            queue=settings.hash_queue,
            wait_seconds=settings.hash_wait_seconds,
            metrics=self.metrics,
            parameters=hash_parameters,
        )
        self.clients = ClientAuthenticator(store=self.store, default_client=settings.default_client)
        self.grants: dict[str, Grant] = {
            PasswordGrant.name: PasswordGrant(
                store=self.store,
                hasher=self.hasher,
                tokens=self.tokens,
                metrics=self.metrics,
                clock=clock,
            )
        }

    async def open(self) -> None:
        """Open the database and check that what it holds suits the settings.

        Raises:
            ConfigurationError: It cannot be opened, holds demo users in production, or its client
                named like the default one is of another kind.
        """
        try:
            await self.store.open()
            if self.settings.environment == "production" and await self.store.has_demo_users():
                raise ConfigurationError(
                    "AUTH_ENVIRONMENT: production refuses a database that holds demo users"
                )
            await self._ensure_default_client()
        except StoreUnavailable as error:
            cause = getattr(error.__cause__, "orig", None) or error.__cause__
            raise ConfigurationError(
                f"AUTH_DATABASE_URL: cannot open the database: {' '.join(str(cause).split())}"
            ) from None
        self.started = True

    async def close(self) -> None:
        """Let running hashes end, then close the database."""
        self.started = False
        await asyncio.to_thread(self.hasher.close)
        await self.store.close()

    async def add_user(
        self, username: str, password: str, *, scope: str = "connect", demo: bool = False
    ) -> User:
        """Create a user.

        Args:
            username: 1 to 64 characters, see `Username.parse`.
            password: 15 to 256 characters.
            scope: What the user may be granted, words separated by blanks.
            demo: Whether the password is shown around; refused in production.

        Raises:
            InvalidUsername: The name is not acceptable.
            WeakPassword: The password is not acceptable.
            UsernameTaken: The name is in use, perhaps in another case or normal form.
            AccountError: The scope is malformed or not for users, or production got a demo user.
        """
        name = Username.parse(username)
        check_new_password(password)
        scopes = parse_scope(scope)
        if scopes is None:
            raise AccountError("a scope is words of printable ASCII separated by single blanks")
        if scopes & CLIENT_ONLY_SCOPES:
            raise AccountError("the scopes api and introspect are for clients, not for users")
        if demo and self.settings.environment == "production":
            raise AccountError("production takes no demo users")
        return await self.store.add_user(
            name,
            password_hash=await self.hasher.hash(password),
            scope=" ".join(sorted(scopes)),
            demo=demo,
            now=int(self.clock()),
        )

    async def ensure_demo_user(
        self, username: str, password: str, *, scope: str = "connect"
    ) -> User:
        """See to it that this demo user exists and has this password; may be repeated at will.

        Raises:
            UsernameTaken: The name belongs to somebody real, whose password is left alone.
            AccountError: As `add_user`.
        """
        name = Username.parse(username)
        user = await self.store.user_by_name(name)
        if user is None:
            try:
                return await self.add_user(username, password, scope=scope, demo=True)
            except UsernameTaken:  # another process was faster
                user = await self.store.user_by_name(name)
        if user is None or not user.demo:
            raise UsernameTaken("a user of this name exists and is no demo user")
        verdict = await self.hasher.verify(password, user.password_hash)
        if not verdict.correct:
            check_new_password(password)
            await self.store.replace_password_hash(user, await self.hasher.hash(password))
        return user

    async def add_client(
        self, client_id: str, *, secret_hash: str | None, grants: frozenset[str], scope: str
    ) -> Client:
        """Register a client.

        Args:
            client_id: 1 to 56 letters, digits, hyphens and underscores.
            secret_hash: From `hash_secret`; None for a public client.
            grants: Grant types it may use.
            scope: What it may be granted, words separated by blanks.

        Raises:
            ClientConflict: A client of this id exists.
            AccountError: The id, a grant type or the scope is malformed.
        """
        scopes = parse_scope(scope)
        if CLIENT_ID.fullmatch(client_id) is None:
            raise AccountError("a client id has 1 to 56 letters, digits, hyphens and underscores")
        if scopes is None:
            raise AccountError("a scope is words of printable ASCII separated by single blanks")
        if not grants <= self.grants.keys():
            raise AccountError(f"grant types are: {', '.join(sorted(self.grants))}")
        wanted = Client(
            id=client_id,
            secret_hash=secret_hash,
            grants=grants,
            scopes=scopes,
            disabled=False,
            created_at=int(self.clock()),
        )
        if not await self.store.add_client(wanted):
            raise ClientConflict("a client of this id exists already")
        return wanted

    async def _ensure_default_client(self) -> None:
        client_id = self.settings.default_client
        if not client_id:
            return
        client = await self.store.client(client_id)
        if client is None:
            wanted = Client(
                id=client_id,
                secret_hash=None,
                grants=frozenset({PasswordGrant.name}),
                scopes=frozenset({"connect"}),
                disabled=False,
                created_at=int(self.clock()),
            )
            if await self.store.add_client(wanted):
                return
            client = await self.store.client(client_id)  # another worker was faster
        if client is None or client.secret_hash is not None or client.disabled:
            raise ConfigurationError(
                "AUTH_DEFAULT_CLIENT: the client of this id is no enabled public client"
            )


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    hash_parameters: HashParameters = POLICY,
) -> AsyncIterator[Service]:
    """Build a service, open it, and close it at the end.

    Raises:
        ConfigurationError: A setting, a key file or the database stops the start; the text is one
            line that names the variable.
    """
    service = Service(settings, clock=clock, hash_parameters=hash_parameters)
    try:
        await service.open()
        yield service
    finally:
        await service.close()


def create_app(service: Service, *, lifespan: _Lifespan | None = None) -> FastAPI:
    """Build the public application.

    Args:
        service: Open before the first request, by the caller or by ``lifespan``.
        lifespan: What runs around the application's life, if the caller does not do it himself.
    """
    app = FastAPI(
        title="Drawbridge authorization server",
        description="OAuth2: users in, short-lived access tokens out.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.include_router(token_router(clients=service.clients, grants=service.grants))
    app.include_router(
        session_router(
            clients=service.clients,
            password_grant=service.grants[PasswordGrant.name],
            origins=service.settings.allowed_origins,
        )
    )
    app.include_router(
        users_router(store=service.store, tokens=service.tokens, clock=service.clock)
    )
    app.include_router(
        metadata_router(
            keys=service.keys, issuer=service.settings.issuer, grant_types=service.grants.keys()
        )
    )
    app.include_router(docs_router(openapi=app.openapi))
    app.include_router(page_router())
    install_error_answers(app)
    app.add_middleware(Envelope, metrics=service.metrics)
    if service.settings.trusted_proxies:
        app.add_middleware(
            ProxyHeadersMiddleware, trusted_hosts=list(service.settings.trusted_proxies)
        )
    return app


def create_internal_app(service: Service) -> FastAPI:
    """Build the application of the internal listener, for probes and Prometheus only."""
    app = FastAPI(
        title="Drawbridge authorization server, internal",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(
        health_router(store=service.store, metrics=service.metrics, started=lambda: service.started)
    )
    install_error_answers(app)
    app.add_middleware(Envelope, metrics=None)
    return app


def create_app_from_environment() -> FastAPI:
    """Build the public application out of ``AUTH_*``, for an ASGI server that takes a factory.

    The database is opened when the server starts the application's lifespan.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    logs.configure()
    service = Service(Settings.from_environment(os.environ))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await service.open()
            yield
        finally:
            await service.close()

    return create_app(service, lifespan=lifespan)
