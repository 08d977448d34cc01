"""Which models a tenant may name, and which of them can be used now."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from deployments.protocols import ModelInfo
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.policy import Entry
from deployments.router.tenants import TenantModel


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of a provider. Prices are nano-dollars per token, None where unknown. remedy: what makes an unavailable
    one available. operation: of a tenant's own model, the operation that it was made for."""

    provider: str
    provider_name: str
    model: str
    available: bool
    remedy: str
    context_window: int | None
    input_price: int | None
    output_price: int | None
    own: bool = False
    operation: str | None = None

    @property
    def entry(self) -> Entry:
        """(provider, model)."""
        return self.provider, self.model

    def info(self) -> ModelInfo:
        """As models are listed."""
        return ModelInfo(
            id=self.model,
            provider=self.provider,
            context_window=self.context_window,
            input_price=self.input_price,
            output_price=self.output_price,
            available=self.available,
        )


def offers_of(
    providers: Iterable[ProviderState], own_models: Iterable[TenantModel], own_providers: frozenset[str], today: date
) -> tuple[Offer, ...]:
    """The catalogue's models, then the tenant's own.

    own_providers: those that the tenant has a key of its own for. A model that the tenant registered is reached with
    that key only: neither its name nor its price is the operator's.
    """
    providers = tuple(providers)
    names = {provider.id: provider.name for provider in providers}
    own = {
        (model.provider, model.model): _own(model, names.get(model.provider, model.provider), own_providers)
        for model in own_models
    }
    listed: list[Offer] = []
    for provider in providers:
        for model in provider.models:
            registered = own.get((provider.id, model.id))
            if registered is not None and registered.available:
                continue  # listed below, at the tenant's own price
            own.pop((provider.id, model.id), None)
            price = model.price(today)
            listed.append(
                Offer(
                    provider.id,
                    provider.name,
                    model.id,
                    provider.available or provider.id in own_providers,
                    provider.remedy,
                    model.context_window,
                    price.input if price else None,
                    price.output if price else None,
                )
            )
    return (*listed, *own.values())


def _own(model: TenantModel, provider_name: str, own_providers: frozenset[str]) -> Offer:
    return Offer(
        model.provider,
        provider_name,
        model.model,
        model.provider in own_providers,
        f"add your own {provider_name} key under /api/integrations",
        model.context_window,
        model.input_price,
        model.output_price,
        own=True,
        operation=model.operation,
    )
