"""Whom a tenant's call of a provider's model goes to: with whose key, within which limits, at which price."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from deployments.protocols import Dialect
from deployments.provider_caller.call import Endpoint, ProviderClient
from deployments.provider_caller.catalogue import LOCAL, Catalogue, Model, key_variable
from deployments.provider_caller.credentials import Credentials
from deployments.provider_caller.http_client import HttpClient
from deployments.provider_caller.prices import Price
from deployments.provider_caller.resilience.targets import OPERATOR, Target
from kit.errors import UnavailableError

ModelOf = Callable[[str, str, str], Model | None]
"""A model that a tenant has registered, by tenant slug, provider and model; None for any other."""

LOCAL_ENDPOINT = Endpoint(LOCAL, LOCAL, "", None)
FREE = Price.model_validate({"from": "2020-01-01", "input": 0, "output": 0})
"""What quoting costs."""


def no_models(tenant: str, provider: str, model: str) -> Model | None:
    """No tenant has registered any."""
    return None


class Reach:
    """One replica's way to every provider. `credentials`: tenants' own keys, None: none has any."""

    def __init__(
        self,
        catalogue: Catalogue,
        http: HttpClient,
        local: ProviderClient,
        *,
        credentials: Credentials | None,
        model_of: ModelOf,
        probe_timeout: float,
    ) -> None:
        self._catalogue = catalogue
        self._http = http
        self._local = local
        self._credentials = credentials
        self._model_of = model_of
        self._probe_timeout = probe_timeout
        self._targets: dict[tuple[str, str], Target] = {}
        """Of the operator's own: they change with the settings only."""

    def client(self, provider: str) -> ProviderClient:
        """What makes single attempts at a provider."""
        return self._local if provider == LOCAL else self._http

    def target(self, tenant: str, provider: str, model: str) -> Target:
        """A model with what its provider is known to allow this key. Raises UnavailableError while nobody knows which
        tenants have keys of their own: the operator's is not taken on a guess."""
        if provider != LOCAL and self._credentials is not None and not self._credentials.loaded:
            raise UnavailableError("Keys are not known yet: the database cannot be reached. Try again.", retry_after=1)
        found = self._model(tenant, provider, model)
        window = found.context_window if found else None
        if self._owns(tenant, provider):
            return Target(provider, model, tenant, None, window)
        target = self._targets.get((provider, model))
        if target is None or target.context_window != window:
            limits = None if provider == LOCAL else self._catalogue.limits(provider)
            target = self._targets[provider, model] = Target(provider, model, OPERATOR, limits, window)
        return target

    def endpoint(self, target: Target) -> Endpoint:
        """Where and with which key a target is called. Raises UnavailableError where there is no usable key.

        A tenant's key that does not open is an error: the operator's key is not taken in its place, since the tenant
        did not ask for that."""
        provider = target.provider
        if provider == LOCAL:
            return LOCAL_ENDPOINT
        if target.owner == OPERATOR:
            endpoint = self._catalogue.endpoint(provider)
            if endpoint is None:
                raise _not_usable(f"The provider {provider!r} is not available: set {key_variable(provider)}.")
            return endpoint
        credential = self._credentials.for_tenant(target.owner, provider) if self._credentials else None
        if credential is None:
            raise _not_usable(f"Your key for {provider} cannot be used. Store it again under /api/integrations.")
        key = credential.key.get_secret_value() if credential.key else None
        endpoint = self._catalogue.tenant_endpoint(provider, key, credential.base_url)
        if endpoint is None:
            raise _not_usable(f"The provider {provider!r} has no address: name its `base_url` under /api/integrations.")
        return endpoint

    def price(self, tenant: str, provider: str, model: str) -> Price | None:
        """Today's, None where unknown."""
        if provider == LOCAL:
            return FREE
        price = self._catalogue.price(provider, model)
        if price is not None:
            return price
        own = self._model_of(tenant, provider, model)
        return own.price(datetime.now(UTC).date()) if own else None

    def surcharge(self, provider: str, content: Mapping[str, Any], dialect: Dialect) -> str | None:
        """See Provider.surcharge."""
        known = self._catalogue.providers.get(provider)
        return known.surcharge(content, dialect) if known else None

    def max_output(self, tenant: str, provider: str, model: str) -> int | None:
        """The most tokens that a model answers with, None where unknown."""
        found = self._model(tenant, provider, model)
        return found.max_output if found else None

    async def probe(self, target: Target) -> None:
        """Ask a provider something cheap. Raises the platform's errors."""
        if target.provider != LOCAL:
            await self._http.check(self.endpoint(target), timeout=self._probe_timeout)

    def _model(self, tenant: str, provider: str, model: str) -> Model | None:
        return self._catalogue.model(provider, model) or self._model_of(tenant, provider, model)

    def _owns(self, tenant: str, provider: str) -> bool:
        if self._credentials is None:
            return False
        return (
            self._credentials.for_tenant(tenant, provider) is not None
            or self._credentials.why_closed(tenant, provider) is not None
        )


def _not_usable(message: str) -> UnavailableError:
    return UnavailableError(message, should_retry=False)
