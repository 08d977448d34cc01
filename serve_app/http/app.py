"""Builds the HTTP application of one ingress replica. Nothing here is global: two apps can live in one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from redis.asyncio import Redis
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from deployments.protocols import Stages
from deployments.provider_caller.catalogue import COMPATIBLE, Catalogue
from deployments.provider_caller.credential_table import CredentialTable
from deployments.provider_caller.money.balances import Balances
from deployments.router.policy import load_policy
from deployments.settings import Settings
from kit.egress import EgressRules
from kit.postgres import Databases
from serve_app.auth.repository import KeyRepository
from serve_app.auth.service import AuthService
from serve_app.chat.caching import AnswerKeys
from serve_app.chat.endpoints import chat_router
from serve_app.chat.service import ChatService
from serve_app.configuration.endpoints import configuration_router
from serve_app.configuration.repository import ConfigRepository
from serve_app.configuration.service import ConfigService
from serve_app.context.endpoints import context_router
from serve_app.context.service import ContextService
from serve_app.experiments.endpoints import experiments_router
from serve_app.experiments.repository import ExperimentRepository
from serve_app.experiments.service import ExperimentService
from serve_app.health.endpoints import health_router
from serve_app.health.repository import HealthRepository
from serve_app.health.service import VERSION, HealthService
from serve_app.http import log
from serve_app.http.background import Background
from serve_app.http.documentation import add_documentation
from serve_app.http.gateway import Gateway
from serve_app.http.idempotency import Idempotency
from serve_app.integrations.endpoints import integrations_router
from serve_app.integrations.key_check import KeyCheck
from serve_app.integrations.service import IntegrationService
from serve_app.providers.endpoints import providers_router
from serve_app.providers.service import ProvidersService
from serve_app.tutor.endpoints import tutor_router
from serve_app.tutor.service import TutorService
from serve_app.usage.endpoints import usage_router
from serve_app.usage.repository import RuleRepository, UsageRepository
from serve_app.usage.service import BudgetService, LimitService, UsageService

CLAIM_MARGIN = 5.0
"""Seconds beyond the request's own time that an Idempotency-Key stays claimed when its replica dies."""

EXPOSED_HEADERS = (
    "x-request-id",
    "request-id",
    "x-penstock-provider",
    "x-penstock-model",
    "x-penstock-cache",
    "x-penstock-cost-usd",
    "x-penstock-route-reason",
    "idempotency-replayed",
    "retry-after",
    "x-should-retry",
    *(f"x-ratelimit-{figure}-{unit}" for figure in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
)


class App(FastAPI):
    """A FastAPI application with the gateway in the place of FastAPI's own middleware: it renders every error."""

    def __init__(self, gateway: Callable[[ASGIApp], ASGIApp], lifespan: Callable[[FastAPI], object]) -> None:
        super().__init__(
            title="Penstock",
            version=VERSION,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=lifespan,  # type: ignore[arg-type]
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        self._gateway = gateway

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document, and how a key is sent."""
        document = super().openapi()
        schemes = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        document.setdefault("components", {})["securitySchemes"] = schemes
        document["security"] = [{name: []} for name in schemes]
        return document

    def build_middleware_stack(self) -> ASGIApp:
        """The gateway around the router."""
        return self._gateway(AsyncExitStackMiddleware(self.router))


def create_app(
    settings: Settings,
    stages: Stages,
    databases: Databases,
    redis: Redis,
    cluster_metrics: Callable[[], Awaitable[bytes]] | None = None,
) -> FastAPI:
    """The application over its stages. `redis` answers in bytes; both connections belong to the caller."""
    log.configure(settings.log_level)
    background = Background()
    auth = AuthService(KeyRepository(databases))
    context = ContextService(
        databases,
        embedder=stages.embedder,
        retriever=stages.retriever,
        reranker=stages.reranker if settings.reranker.enabled else None,
        candidates=settings.reranker.candidates,
    )
    catalogue = Catalogue(settings.provider_caller)
    rag_enabled = settings.server.rag_enabled
    keys = AnswerKeys(settings.cache, stages.router.variant)
    chat = ChatService(stages, context, keys, background, rag_enabled=rag_enabled)
    providers = ProvidersService(stages.router, stages.embedder, context, settings.embedder)
    egress = EgressRules.of(settings.egress.tenant_hosts)
    integrations = IntegrationService(
        CredentialTable(databases, settings.encryption.provider(settings.home)),
        catalogue.providers,
        KeyCheck(catalogue, egress),
        egress,
    )
    experiments = ExperimentService(ExperimentRepository(databases), stages.router)
    configuration = ConfigService(
        ConfigRepository(databases),
        stages.router,
        load_policy(settings.router.policy),
        {COMPATIBLE, *(state.id for state in catalogue.states())},
    )
    health = HealthService(HealthRepository(databases), redis, catalogue, context, stages.provider_caller)

    def gateway(router: ASGIApp) -> ASGIApp:
        idempotent = Idempotency(router, redis=redis, claim_seconds=settings.server.request_timeout + CLAIM_MARGIN)
        guarded: ASGIApp = Gateway(
            idempotent,
            authenticate=auth.authenticate,
            request_timeout=settings.server.request_timeout,
            max_body_bytes=settings.server.max_body_bytes,
            metrics_allow=frozenset(settings.server.metrics_allow),
            debug=settings.debug,
        )
        if settings.server.cors_origins:
            guarded = CORSMiddleware(
                guarded,
                allow_origins=settings.server.cors_origins,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["*"],
                expose_headers=EXPOSED_HEADERS,
            )
        return guarded

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        refresher = asyncio.create_task(auth.run(), name="refresh API keys")
        try:
            yield
        finally:
            refresher.cancel()
            await background.drain()

    app = App(gateway, lifespan)
    for router in (
        chat_router(chat),
        providers_router(providers),
        tutor_router(TutorService(chat, context, rag_enabled=rag_enabled)),
        context_router(context),
        integrations_router(integrations),
        _usage(settings, databases, redis),
        experiments_router(experiments),
        configuration_router(configuration),
        health_router(health, cluster_metrics),
    ):
        # Not `include_router`: that puts a second round of matching before each route, 30 us of every chat request.
        app.router.routes.extend(router.routes)
    add_documentation(app)
    return app


def _usage(settings: Settings, databases: Databases, redis: Redis) -> APIRouter:
    balances = Balances(redis, databases, timeout=settings.provider_caller.money.redis_timeout)
    return usage_router(
        UsageService(UsageRepository(databases)),
        BudgetService(RuleRepository(databases, "budgets"), balances),
        LimitService(RuleRepository(databases, "rate_limits")),
    )
