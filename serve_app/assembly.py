"""Puts stages together in one process: builds those that live here, reaches the others through their handles.

    embedder   <- settings                     retriever        <- Postgres
    router     <- embedder, Postgres, Redis    reranker         <- Postgres
    cache      <- Redis                        provider caller  <- embedder, Postgres, Redis

Router and cache have a part that always lives with the caller (a policy snapshot; reading Redis), so a request that
names its model and one that was answered before take no hop to them. What tenants bring (keys, models) is a snapshot
that a process keeps once, whichever of its stages ask for it.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Protocol, cast

import redis.asyncio
from pydantic import SecretStr

from deployments.cache.client import CacheClient
from deployments.cache.stage import CacheStage
from deployments.embedder.remote import RemoteEmbedder
from deployments.embedder.stage import EmbedderStage
from deployments.placement import (
    EmbedderClient,
    ProviderCallerClient,
    RemoteCache,
    RemoteRouter,
    RerankerClient,
    RetrieverClient,
)
from deployments.protocols import Embedder, Stages
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.credentials import Credentials
from deployments.provider_caller.resilience.shared_speeds import read_speeds
from deployments.provider_caller.stage import ProviderCallerStage
from deployments.reranker.source import PostgresTokenVectors
from deployments.reranker.stage import RerankerStage
from deployments.retriever.stage import RetrieverStage
from deployments.router.client import RouterClient
from deployments.router.stage import RouterStage
from deployments.router.state import ReadSpeeds
from deployments.router.tenant_models import TenantModels
from deployments.settings import Settings
from kit.egress import EgressRules
from kit.errors import SetupError
from kit.postgres import Databases
from kit.redis import redis_client
from serve_app.profiles import StageName, load_profile

NEEDS: Mapping[StageName, tuple[StageName, ...]] = {
    "embedder": (),
    "retriever": (),
    "reranker": (),
    "router": ("embedder",),
    "provider_caller": ("embedder",),
    "cache": (),
}
"""Which stages a stage calls, in an order in which they can be bound."""


class Stage(Protocol):
    """What every stage class has beside its own methods."""

    async def start(self) -> None:
        """Do the slow set-up."""
        ...

    async def close(self) -> None:
        """Give back what `start` took."""
        ...


class Assembly:
    """The stages of one process. `handles`: deployments by stage; a stage without one is built here."""

    def __init__(self, settings: Settings, handles: Mapping[str, Any]) -> None:
        self.settings = settings
        share = load_profile(settings.server.profile).connection_share(
            settings.database.max_connections, settings.server.max_workers
        )
        self.databases = Databases(_url(settings.database.url, "DATABASE_URL"), share)
        self.redis: redis.asyncio.Redis = redis_client(_url(settings.redis.url, "REDIS_URL"))
        self._handles = handles
        self._catalogue = Catalogue(settings.provider_caller)
        self._local: dict[str, Stage] = {}

    def stages(self) -> Stages:
        """All stages as the ingress calls them."""
        return Stages(
            embedder=self.embedder(),
            retriever=self._reach("retriever", RetrieverClient, self.build_retriever),
            reranker=self._reach("reranker", RerankerClient, self.build_reranker),
            router=self.router_client(),
            provider_caller=self._reach("provider_caller", ProviderCallerClient, self.build_provider_caller),
            cache=CacheClient(self._reach("cache", RemoteCache, self.build_cache), self.settings.cache, self.redis),
        )

    def embedder(self) -> Embedder:
        """The embedder, here or elsewhere."""
        return cast(Embedder, self._reach("embedder", EmbedderClient, self.build_embedder))

    def router_client(self) -> RouterClient:
        """The router's part that lives with its callers, in front of the router here or elsewhere."""
        remote = self._reach("router", RemoteRouter, self.build_router)
        client = RouterClient(
            remote,
            self.settings.router,
            self._catalogue.states(),
            databases=self.databases,
            read_speeds=self._read_speeds,
            providers_of=self._credentials.providers_of,
        )
        self._local["router client"] = client
        return client

    def build_embedder(self) -> EmbedderStage | RemoteEmbedder:
        """The stage itself, in this process; likewise the others."""
        config = self.settings.embedder
        if config.use_local:
            return EmbedderStage(config, self.settings.home)
        endpoint = self._catalogue.endpoint(config.remote_provider)
        if endpoint is None:
            raise SetupError(
                f"embedder.use_local is false, but provider {config.remote_provider!r} is not available.",
                "Set its key, or set USE_LOCAL_EMBEDDINGS=true.",
            )
        key = SecretStr(endpoint.key) if endpoint.key else None
        return RemoteEmbedder(config, base_url=endpoint.base_url, key=key)

    def build_retriever(self) -> RetrieverStage:
        """The retriever."""
        return RetrieverStage(self.settings.retriever, self.databases)

    def build_reranker(self) -> RerankerStage:
        """The reranker."""
        return RerankerStage(self.settings.reranker, PostgresTokenVectors(self.databases))

    def build_router(self) -> RouterStage:
        """The router."""
        return RouterStage(
            self.settings.router,
            self.embedder(),
            self._catalogue.states(),
            databases=self.databases,
            read_speeds=self._read_speeds,
            providers_of=self._credentials.providers_of,
        )

    def build_provider_caller(self) -> ProviderCallerStage:
        """The provider caller."""
        return ProviderCallerStage(
            self.settings.provider_caller,
            self.embedder(),
            self.redis,
            self.databases,
            catalogue=self._catalogue,
            credentials=self._credentials,
            model_of=self._tenant_models.model,
            egress=EgressRules.of(self.settings.egress.tenant_hosts),
        )

    def build_cache(self) -> CacheStage:
        """The cache."""
        return CacheStage(self.settings.cache, self.redis)

    @cached_property
    def _credentials(self) -> Credentials:
        """Tenants' own keys."""
        keys = self.settings.encryption.provider(self.settings.home)
        credentials = Credentials(self.databases, keys)
        self._local["credentials"] = credentials
        return credentials

    @cached_property
    def _tenant_models(self) -> TenantModels:
        """The models that tenants have registered."""
        models = TenantModels(self.databases)
        self._local["tenant models"] = models
        return models

    @cached_property
    def _read_speeds(self) -> ReadSpeeds:
        return partial(read_speeds, self.redis)

    async def start(self) -> None:
        """Start the stages that were built here, and before each what it rests on."""
        for stage in self._local.values():
            await stage.start()

    async def close(self) -> None:
        """Close them, then the connections."""
        for stage in reversed(self._local.values()):
            await stage.close()
        await self.databases.close()
        await self.redis.aclose()

    def local(self, name: StageName) -> Any:
        """Build one stage here whatever the handles say: what the stage's own replica does."""
        builders: Mapping[str, Callable[[], Stage]] = {
            "embedder": self.build_embedder,
            "retriever": self.build_retriever,
            "reranker": self.build_reranker,
            "router": self.build_router,
            "provider_caller": self.build_provider_caller,
            "cache": self.build_cache,
        }
        return self._reach_local(name, builders[name])

    def _reach(self, name: str, client: Callable[[str, Any], Any], build: Callable[[], Stage]) -> Any:
        if name in self._handles:
            return client(name, self._handles[name])
        return self._reach_local(name, build)

    def _reach_local(self, name: str, build: Callable[[], Stage]) -> Any:
        if name not in self._local:
            stage = build()
            self._local[name] = stage
        return self._local[name]


def _url(secret: Any, variable: str) -> str:
    if secret is None:
        raise SetupError(f"{variable} is not set in this process.", "Start the platform with `penstock up`.")
    return cast(str, secret.get_secret_value())
