"""The composition root: which parts there are and how they meet.

    settings ──► Service: database · hasher · keys · tokens · login · sessions · grants · metrics
                    │
                    ├──► create_app           token · session · users · metadata · pages   (public)
                    └──► create_internal_app  health · metrics                           (internal)

Both applications share one service, so one process opens the database and the keys once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import get_args

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from auth_service import __version__, logs
from auth_service.access import AccessCheck
from auth_service.accounts import Accounts
from auth_service.administration import Administration
from auth_service.authorization import Authorization
from auth_service.clients import ClientAuthenticator
from auth_service.csrf import FormTokens
from auth_service.device_authorization import DeviceAuthorizations
from auth_service.exceptions import ConfigurationError, KeyRefused, SchemaError, StoreUnavailable
from auth_service.grants.authorization_code import AuthorizationCodeGrant
from auth_service.grants.base import Grant
from auth_service.grants.client_credentials import ClientCredentialsGrant
from auth_service.grants.device_code import DeviceCodeGrant
from auth_service.grants.password import PasswordGrant
from auth_service.grants.refresh_token import RefreshTokenGrant
from auth_service.housekeeping import Housekeeping
from auth_service.introspection import Introspection
from auth_service.keys import KeySource, State, load_keys
from auth_service.limits import LimitRules, Limits
from auth_service.login import Login
from auth_service.metrics import Metrics
from auth_service.own_account import OwnAccount
from auth_service.passwords import POLICY, HashParameters, PasswordHasher, require_libpass
from auth_service.redis_address import connect
from auth_service.refresh_tokens import RefreshTokens
from auth_service.registration import Registration
from auth_service.revocation_log import RevocationLog
from auth_service.revocation_publisher import STREAM, RevocationPublisher
from auth_service.rotation import KeyRotation
from auth_service.routes.authorize import authorize_router
from auth_service.routes.cross_origin import CrossOrigin
from auth_service.routes.device import device_router
from auth_service.routes.device_authorization import device_authorization_router
from auth_service.routes.docs import docs_router
from auth_service.routes.envelope import Envelope
from auth_service.routes.errors import install_error_answers
from auth_service.routes.health import health_router
from auth_service.routes.introspect import introspect_router
from auth_service.routes.metadata import metadata_router
from auth_service.routes.own_forms import OwnForms
from auth_service.routes.page import page_router
from auth_service.routes.password import password_router
from auth_service.routes.revocations import revocations_router
from auth_service.routes.revoke import revoke_router
from auth_service.routes.session import session_router
from auth_service.routes.sessions import sessions_router
from auth_service.routes.shortcut import Shortcut
from auth_service.routes.token import token_router
from auth_service.routes.users import users_router
from auth_service.sealing import load_secret_keys
from auth_service.sessions import Lifetimes, Sessions
from auth_service.settings import Settings
from auth_service.store import migration
from auth_service.store.database import Bounds, Database
from auth_service.store.prune import Retention
from auth_service.throttle import Throttle
from auth_service.token_revocation import TokenRevocation
from auth_service.tokens import AccessTokens

_log = logging.getLogger(__name__)
_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Service:
    """The parts of one authorization server.

    Building reads key files; `open` does what needs the database. Prefer `open_service`,
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
        self.secrets = load_secret_keys(
            settings.sealing_keys, settings.keys_dir, make=settings.environment != "production"
        )
        self.database = open_database(settings, metrics=self.metrics)
        self._rotation: KeyRotation | None = None
        self.keys: KeySource
        if settings.keys_source == "files":
            self.keys = load_keys(settings.keys_dir, settings.signing_algorithm)
        else:
            self.keys = self._rotation = KeyRotation(
                database=self.database,
                secrets=self.secrets,
                directory=settings.keys_dir,
                algorithm=settings.signing_algorithm,
                clock=clock,
            )
        self.tokens = AccessTokens(
            keys=self.keys,
            issuer=settings.issuer,
            audience=settings.audience,
            lifetime_seconds=settings.access_token_seconds,
        )
        self.hasher = PasswordHasher(
            threads=settings.hash_threads,
            queue=settings.hash_queue,
            wait_seconds=settings.hash_wait_seconds,
            metrics=self.metrics,
            parameters=hash_parameters,
        )
        self.limits = Limits(
            database=self.database,
            secrets=self.secrets,
            rules=_limit_rules(settings),
            metrics=self.metrics,
            clock=clock,
        )
        self.clients = ClientAuthenticator(
            database=self.database,
            default_client=settings.default_client,
            issuer=settings.issuer,
            limits=self.limits,
            clock=clock,
        )
        self.login = Login(
            database=self.database,
            hasher=self.hasher,
            limits=self.limits,
            metrics=self.metrics,
            clock=clock,
        )
        refresh_tokens = RefreshTokens(
            chain_keys=self.secrets.derive("refresh-token"),
            mac_keys=self.secrets.derive("refresh-token-mac"),
        )
        self.sessions = Sessions(
            database=self.database,
            tokens=self.tokens,
            refresh_tokens=refresh_tokens,
            lifetimes=Lifetimes(
                idle=settings.refresh_idle_seconds,
                absolute=settings.session_seconds,
                grace=settings.refresh_grace_seconds,
            ),
            metrics=self.metrics,
            clock=clock,
        )
        self.access = AccessCheck(database=self.database, tokens=self.tokens, clock=clock)
        self.introspection = Introspection(
            access=self.access,
            refresh_tokens=refresh_tokens,
            database=self.database,
            issuer=settings.issuer,
            audience=settings.audience,
            clock=clock,
        )
        self.introspection_guesses = Throttle(
            "introspection",
            per_minute=settings.limit_introspection,
            metrics=self.metrics,
            clock=clock,
        )
        self.revocation = TokenRevocation(
            database=self.database,
            sessions=self.sessions,
            tokens=self.tokens,
            refresh_tokens=refresh_tokens,
            clock=clock,
        )
        self.account = OwnAccount(
            database=self.database,
            sessions=self.sessions,
            login=self.login,
            hasher=self.hasher,
            clock=clock,
        )
        self.administration = Administration(
            database=self.database, sessions=self.sessions, hasher=self.hasher, clock=clock
        )
        self.revocation_log = RevocationLog(
            database=self.database, metrics=self.metrics, clock=clock
        )
        self.database.on_revocations = self.revocation_log.appended
        self._publisher = self._make_publisher()
        self._publishing: asyncio.Task[None] | None = None
        self.metrics.refresh = self._count_keys
        self.browser_grant = PasswordGrant(login=self.login, sessions=self.sessions, browser=True)
        self.grants: dict[str, Grant] = {
            PasswordGrant.name: PasswordGrant(login=self.login, sessions=self.sessions),
            RefreshTokenGrant.name: RefreshTokenGrant(sessions=self.sessions),
            ClientCredentialsGrant.name: ClientCredentialsGrant(
                tokens=self.tokens, metrics=self.metrics, clock=clock
            ),
            AuthorizationCodeGrant.name: AuthorizationCodeGrant(
                database=self.database, sessions=self.sessions, clock=clock
            ),
            DeviceCodeGrant.name: DeviceCodeGrant(
                database=self.database, sessions=self.sessions, clock=clock
            ),
        }
        self.authorization = Authorization(
            clients=self.clients, database=self.database, issuer=settings.issuer, clock=clock
        )
        self.devices = DeviceAuthorizations(
            clients=self.clients, database=self.database, limits=self.limits, clock=clock
        )
        self.accounts = Accounts(
            database=self.database,
            hasher=self.hasher,
            limits=self.limits,
            clock=clock,
            demo_users=settings.environment != "production",
        )
        self.registration = Registration(
            database=self.database, clock=clock, grant_types=self.grants.keys()
        )
        self.housekeeping = Housekeeping(
            database=self.database,
            retention=Retention(
                audit_days=settings.audit_retention_days,
                session_days=settings.session_retention_days,
            ),
            clock=clock,
        )

    async def open(self, *, serving: bool = True) -> None:
        """Open the database and check that what it holds suits the settings.

        Raises:
            ConfigurationError: It cannot be opened, holds demo users in production, or its client
                named like the default one is of another kind.
        """
        try:
            await self.database.open()
            await self._require_tables()
            if self._rotation is not None:
                await self._rotation.open(follow=serving)
            if self.settings.environment == "production" and await self.accounts.any_demo_user():
                raise ConfigurationError(
                    "AUTH_ENVIRONMENT: production refuses a database that holds demo users"
                )
            await self._check_default_client()
            if serving:
                await self._tell_of_passwords()
        except (StoreUnavailable, SchemaError) as error:
            raise explain(error) from None
        if serving:
            if self._publisher is not None:
                self._publishing = asyncio.create_task(self._publisher.run())
            self.housekeeping.start()
        self.started = True

    async def close(self) -> None:
        """Let running hashes end, publish no more, then close the database."""
        self.started = False
        await self.housekeeping.close()
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.wait([self._publishing])
        self.revocation_log.close()
        await asyncio.to_thread(self.hasher.close)
        if self._rotation is not None:
            await self._rotation.close()
        await self.database.close()

    def _count_keys(self) -> None:
        if self._rotation is None:
            return
        published = self._rotation.published()
        counts = Counter(state for _, state in published)
        for state in get_args(State):
            self.metrics.signing_keys.labels(state).set(counts[state])
        for one, state in published:
            if state == "active":
                self.metrics.signing_key_activated.set(one.activates_at)

    async def publish_revocations(self) -> bool:
        """Publish what an order has revoked, which nobody else in this process does.

        Returns:
            Whether it is where gateways read it: in Redis, or if there is none in the database.
        """
        if self._publisher is None or not self.revocation_log.appended_at:
            return True
        return await self._publisher.once()

    def _make_publisher(self) -> RevocationPublisher | None:
        if not self.settings.redis_url:
            return None
        return RevocationPublisher(
            log=self.revocation_log,
            redis=connect(self.settings.redis_url, STREAM),
            metrics=self.metrics,
            clock=self.clock,
        )

    @property
    def rotation(self) -> KeyRotation:
        """Orders about signing keys.

        Raises:
            KeyRefused: They are files.
        """
        if self._rotation is None:
            raise KeyRefused("AUTH_KEYS_SOURCE is files: put other files there and start again")
        return self._rotation

    async def _require_tables(self) -> None:
        """See to it that the tables are this version's, or a later one's that suits it.

        A file of one's own is brought up to date on the way. Anything else is an operator's
        decision, who may want a backup first, and has other processes of the old version running.
        """
        found = await migration.status(self.database)
        if found.suits:
            return
        simple = self.settings.database_url.startswith("sqlite")
        if not found.newer and simple and self.settings.environment == "development":
            await migration.upgrade(self.database)
            return
        advice = "" if found.newer else "; run: python -m auth_service migrate"
        raise ConfigurationError(f"AUTH_DATABASE_URL: {found}{advice}")

    async def _check_default_client(self) -> None:
        client_id = self.settings.default_client
        if not client_id:
            return
        client = await self.registration.ensure_public(
            client_id, grants=(PasswordGrant.name, RefreshTokenGrant.name), scope="connect"
        )
        if client is None:
            raise ConfigurationError(
                "AUTH_DEFAULT_CLIENT: the client of this id is no enabled public client"
            )

    async def _tell_of_passwords(self) -> None:
        if PasswordGrant.name in await self.registration.grants_in_use():
            _log.info(
                "password_grant_enabled",
                extra={
                    "advice": "RFC 9700 section 2.4 forbids it: clients see passwords."
                    " Use authorization_code or the device flow, and take it from the clients."
                },
            )


def open_database(settings: Settings, *, metrics: Metrics | None = None) -> Database:
    """Build the database that the settings name; nothing is connected yet."""
    bounds = Bounds(
        connections=settings.database_pool,
        seconds=settings.database_seconds,
        tls=settings.database_tls,
    )
    return Database(settings.database_url, bounds=bounds, metrics=metrics)


def explain(error: StoreUnavailable | SchemaError) -> ConfigurationError:
    """Say in one line what is wrong with the database, for an operator."""
    if isinstance(error, SchemaError):
        return ConfigurationError(f"AUTH_DATABASE_URL: {error}")
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return ConfigurationError(f"AUTH_DATABASE_URL: cannot open the database: {reason}")


def _limit_rules(settings: Settings) -> LimitRules:
    return LimitRules(
        everywhere=settings.limit_logins,
        address=settings.limit_address,
        account=settings.limit_account,
        client=settings.limit_client,
        user_code=settings.limit_user_code,
        device=settings.limit_device,
        lockout_failures=settings.lockout_failures,
        lockout_seconds=settings.lockout_seconds,
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


@asynccontextmanager
async def open_for_orders(settings: Settings) -> AsyncIterator[Service]:
    """Open a service for an operator's order: it does nothing by itself.

    Raises:
        ConfigurationError: As `open_service`.
    """
    service = Service(settings)
    try:
        await service.open(serving=False)
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
    token = token_router(clients=service.clients, grants=service.grants, metrics=service.metrics)
    introspect = introspect_router(
        clients=service.clients,
        access=service.access,
        introspection=service.introspection,
        guesses=service.introspection_guesses,
    )
    app.include_router(token)
    app.include_router(
        session_router(
            clients=service.clients,
            password_grant=service.browser_grant,
            sessions=service.sessions,
            revocation=service.revocation,
            origins=service.settings.allowed_origins,
        )
    )
    app.include_router(revoke_router(clients=service.clients, revocation=service.revocation))
    app.include_router(introspect)
    app.include_router(users_router(access=service.access))
    app.include_router(password_router(access=service.access, account=service.account))
    app.include_router(sessions_router(access=service.access, account=service.account))
    app.include_router(
        metadata_router(
            keys=service.keys,
            issuer=service.settings.issuer,
            grants_in_use=service.registration.grants_in_use,
            clock=service.clock,
        )
    )
    _include_pages(app, service)
    app.include_router(docs_router(openapi=app.openapi))
    app.include_router(page_router())
    install_error_answers(app)
    app.add_middleware(Shortcut, routers=(token, introspect))
    app.add_middleware(CrossOrigin, origins=service.settings.allowed_origins)
    app.add_middleware(Envelope, metrics=service.metrics)
    if service.settings.trusted_proxies:
        app.add_middleware(
            ProxyHeadersMiddleware, trusted_hosts=list(service.settings.trusted_proxies)
        )
    return app


def _include_pages(app: FastAPI, service: Service) -> None:
    """Add what lets a user agree that somebody acts for him."""
    forms = OwnForms(
        tokens=FormTokens(service.secrets.derive("csrf")),
        origins=service.settings.allowed_origins | {service.settings.own_origin},
    )
    app.include_router(
        authorize_router(authorization=service.authorization, login=service.login, forms=forms)
    )
    app.include_router(
        device_authorization_router(
            clients=service.clients, devices=service.devices, issuer=service.settings.issuer
        )
    )
    app.include_router(device_router(devices=service.devices, login=service.login, forms=forms))


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
        health_router(
            database=service.database, metrics=service.metrics, started=lambda: service.started
        )
    )
    if service.settings.revocations_key:
        app.include_router(
            revocations_router(log=service.revocation_log, key=service.settings.revocations_key)
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
