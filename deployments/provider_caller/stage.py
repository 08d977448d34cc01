"""The provider caller: gets answers from the local extractive provider and from model providers.

An exchange (`exchange.py`) is one request's way; this class holds what all of them share, and its life.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from redis.asyncio import Redis

from deployments.measure import measured
from deployments.protocols import CallerHealth, Embedder, ProviderReply, ProviderRequest, StreamItem
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.credentials import Credentials
from deployments.provider_caller.exchange import Bounds, Desk, Exchange
from deployments.provider_caller.http_client import HttpClient
from deployments.provider_caller.local import LocalProvider
from deployments.provider_caller.local_client import LocalClient
from deployments.provider_caller.money.admission import Admission
from deployments.provider_caller.money.ledger import Ledger
from deployments.provider_caller.reach import ModelOf, Reach, no_models
from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.targets import OPERATOR
from kit.egress import EgressRules
from kit.errors import UnavailableError, ValidationError
from kit.postgres import Databases

_TROUBLES = {
    "open": "It has been failing and is left alone for a while.",
    "half_open": "It has been failing; single calls are trying it.",
    "broken_key": "It refuses this platform's key.",
}


class ProviderCallerStage:
    """Implements ProviderCaller. embedder: what the local provider finds sentences with. egress: what tenants' own
    base URLs may name. credentials, model_of: what tenants bring; both are started by whoever made them."""

    def __init__(
        self,
        config: ProviderCallerConfig,
        embedder: Embedder,
        redis: Redis,
        databases: Databases,
        *,
        catalogue: Catalogue | None = None,
        credentials: Credentials | None = None,
        model_of: ModelOf = no_models,
        egress: EgressRules = EgressRules(),  # noqa: B008  # a frozen value
    ) -> None:
        self._config = config
        self._catalogue = catalogue or Catalogue(config)
        self._local = LocalClient(LocalProvider(embedder))
        self._redis = redis
        self._credentials = credentials
        self._model_of = model_of
        self._egress = egress
        self.admission = Admission(config.money, redis, databases)
        self.ledger = Ledger(config.money, redis, databases, rules=self.admission.rules)
        self._attempts: Attempts | None = None
        self._http: HttpClient | None = None
        self._desk: Desk | None = None

    async def start(self) -> None:
        """Open the connection pool, in the event loop that will use it, and begin what runs beside the calls."""
        config, money = self._config, self._config.money
        self._http = HttpClient(
            self._catalogue.providers,
            connect_timeout=config.connect_timeout,
            max_connections=config.max_connections,
            max_answer_bytes=config.max_answer_bytes,
            egress=self._egress,
        )
        reach = Reach(
            self._catalogue,
            self._http,
            self._local,
            credentials=self._credentials,
            model_of=self._model_of,
            probe_timeout=config.resilience.probe.timeout,
        )
        self._attempts = Attempts(config.resilience, self._redis, probe=reach.probe)
        bounds = Bounds(money.image_tokens, money.file_tokens, money.assumed_prompt_tokens, money.assumed_output_tokens)
        await self.admission.start()
        await self.ledger.start()
        await self._attempts.start()
        self._desk = Desk(reach, self._attempts, self.admission, self.ledger, bounds, config.idle_timeout)

    async def close(self) -> None:
        """Settle what is known, then close every connection."""
        if self._attempts is not None:
            await self._attempts.close()
            await self.ledger.close()
            await self.admission.close()
        if self._http is not None:
            await self._http.close()

    @measured("provider_caller")
    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """One whole answer; see ProviderCaller.complete."""
        return await self._exchange(request, stream=False).complete()

    @measured("provider_caller")
    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        """Server-sent events as they come; see ProviderCaller.stream."""
        async with aclosing(self._exchange(request, stream=True).stream()) as items:
            async for item in items:
                yield item

    async def health(self) -> CallerHealth:
        """See ProviderCaller.health."""
        limits, ledger = self.admission.state(), self.ledger.state()
        failing = {}
        if self._attempts is not None:
            for (provider, owner), health in self._attempts.states().items():
                if owner == OPERATOR and health.state != "closed":
                    failing[provider] = _TROUBLES[health.state]
        return CallerHealth(
            limits=None if limits.healthy else limits.message,
            ledger=None if ledger.healthy else ledger.message,
            providers=failing,
        )

    def _exchange(self, request: ProviderRequest, *, stream: bool) -> Exchange:
        if self._desk is None:
            raise UnavailableError("The provider caller has not been started.")
        return Exchange(self._desk, request, _parse(request.body), stream=stream)


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError("The request's body is not JSON.") from error
    if not isinstance(content, dict):
        raise ValidationError("The request's body must be a JSON object.")
    return content
