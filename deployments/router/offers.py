"""Which models a tenant may name, and which of them can be used now."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from deployments.protocols import ModelInfo
from deployments.provider_caller.catalogue import ProviderState
from deployments.provider_caller.prices import Price
from deployments.router.policy import Entry
from deployments.router.tenants import TenantModel


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of a provider. price: of the day, None where unknown. remedy: what makes an unavailable one available.
    operation: of a tenant's own model, the operation that it was made for. aliases: other names that callers may
    use."""

    provider: str
    provider_name: str
    model: str
    available: bool
    remedy: str = ""
    context_window: int | None = None
    price: Price | None = None
    operation: str | None = None
    aliases: tuple[str, ...] = ()

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
            input_price=self.price.input if self.price else None,
            output_price=self.price.output if self.price else None,
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
        (model.provider, model.model): _own(model, names.get(model.provider, model.provider), own_providers, today)
        for model in own_models
    }
    listed: list[Offer] = []
    for provider in providers:
        available = provider.available or provider.id in own_providers
        for model in provider.models:
            registered = own.get((provider.id, model.id))
            if registered is not None and registered.available:
                continue  # listed below, at the tenant's own price
            own.pop((provider.id, model.id), None)
            listed.append(
                Offer(
                    provider.id,
                    provider.name,
                    model.id,
                    available,
                    provider.remedy,
                    model.context_window,
                    model.price(today),
                    aliases=model.aliases,
                )
            )
    return (*listed, *own.values())


def _own(model: TenantModel, provider_name: str, own_providers: frozenset[str], today: date) -> Offer:
    return Offer(
        model.provider,
        provider_name,
        model.model,
        model.provider in own_providers,
        f"add your own {provider_name} key under /api/integrations",
        model.context_window,
        model.price(today),
        model.operation,
    )
