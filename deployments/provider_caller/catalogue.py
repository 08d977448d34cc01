"""Which providers and models there are, what they cost, and which of them the operator has made usable."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from deployments.protocols import Usage
from deployments.provider_caller.call import Endpoint
from deployments.provider_caller.config import ProviderCallerConfig, ProviderKeys, ProviderLimits
from deployments.provider_caller.prices import Price, PriceTable, load_prices, price_on
from deployments.provider_caller.providers.base import Provider
from deployments.provider_caller.providers.registry import load_registry
from deployments.settings import ALIASES, CONFIGS
from kit.errors import SetupError
from kit.settings import Section, variable_of

LOCAL = "local"
LOCAL_MODEL = "local/extractive"
COMPATIBLE = "compatible"

Capability = Literal["tools", "images", "json_schema", "reasoning", "logprobs", "search"]


class Model(Section):
    """One model of a provider. context_window: tokens of prompt and answer together; max_output: tokens of an answer.
    None: not known. aliases: other names that callers may use."""

    id: str = Field(min_length=1)
    context_window: int | None = Field(None, gt=0)
    max_output: int | None = Field(None, gt=0)
    aliases: tuple[str, ...] = ()
    capabilities: frozenset[Capability] = frozenset()
    prices: tuple[Price, ...] = ()

    def price(self, day: date) -> Price | None:
        """The price on a day, None where unknown."""
        return price_on(self.prices, day)


class ProviderEntry(Section):
    """A provider's entry of configs/providers.yaml. base_url: None for the provider's own default."""

    base_url: str | None = None
    models: tuple[Model, ...] = ()
    limits: ProviderLimits = Field(default_factory=ProviderLimits)


@dataclass(frozen=True, slots=True)
class ProviderState:
    """A provider as a router sees it: no secrets. `remedy` says what the operator must do to make it available."""

    id: str
    name: str
    available: bool
    remedy: str
    models: tuple[Model, ...]


def load_providers(file: Path = CONFIGS / "providers.yaml") -> dict[str, ProviderEntry]:
    """The entries of a file by provider. Raises SetupError that lists everything wrong in it."""
    try:
        return pydantic.TypeAdapter(dict[str, ProviderEntry]).validate_python(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise SetupError(f"{file} cannot be read: {error}", "Restore the file.") from error
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SetupError(f"{file} is wrong: {problems}.", "Correct the file.") from error


class Catalogue:
    """The providers with the operator's settings applied. Raises SetupError."""

    def __init__(
        self,
        config: ProviderCallerConfig,
        entries: Mapping[str, ProviderEntry] | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        prices: PriceTable | None = None,
    ) -> None:
        """None: as shipped and installed."""
        self.providers = load_registry() if providers is None else dict(providers)
        """What the client calls, by id."""
        self._config = config
        self._entries = _entries(config, self.providers, load_providers() if entries is None else entries)
        table = load_prices() if prices is None else prices
        self._entries = {id: _priced(entry, table.get(id, {})) for id, entry in self._entries.items()}
        for setting in ("base_urls", "limits"):
            _check_names(setting, getattr(config, setting), self._entries)
        self._endpoints = {id: self._endpoint(id) for id in self._entries if self._available(id)}
        self._models = {(id, model.id): model for id, entry in self._entries.items() for model in entry.models}

    def states(self) -> tuple[ProviderState, ...]:
        """Every provider, available or not."""
        return tuple(
            ProviderState(id, self._name(id), self._available(id), f"set {key_variable(id)}", entry.models)
            for id, entry in self._entries.items()
        )

    def endpoint(self, provider: str) -> Endpoint | None:
        """How to call a provider with the operator's key; None for one that is unknown or not available."""
        return self._endpoints.get(provider)

    def tenant_endpoint(self, provider: str, key: str | None, base_url: str | None = None) -> Endpoint | None:
        """How to call a provider with a tenant's own key, at its own address or, None, at the provider's public one;
        None for an unknown provider. Whatever the operator has set does not count here."""
        entry = self._entries.get(provider)
        url = base_url or (entry.base_url if entry and provider != COMPATIBLE else None)
        if provider not in self.providers or not (url or self.providers[provider].base_url):
            return None
        name = self._name(provider)
        return Endpoint(provider, name, url or self.providers[provider].base_url, key, tenant_owned=True)

    def model(self, provider: str, model: str) -> Model | None:
        """A model by its id, None for one that is not listed."""
        return self._models.get((provider, model))

    def limits(self, provider: str) -> ProviderLimits:
        """What the provider allows the operator's account; the settings win over the file, field by field."""
        entry = self._entries.get(provider)
        stated = entry.limits if entry else ProviderLimits()
        override = self._config.limits.get(provider)
        return stated.model_copy(update=override.model_dump(exclude_none=True)) if override else stated

    def price(self, provider: str, model: str, day: date | None = None) -> Price | None:
        """The price on a day (today), None where unknown."""
        entry = self._models.get((provider, model))
        return entry.price(day or _today()) if entry else None

    def cost(self, provider: str, model: str, usage: Usage, day: date | None = None) -> int | None:
        """Nano-dollars of a call, None where its price is unknown. A cost that the provider itself states counts."""
        if usage.cost is not None:
            return usage.cost
        price = self.price(provider, model, day)
        return price.cost(usage) if price else None

    def _name(self, provider: str) -> str:
        return self.providers[provider].name

    def _endpoint(self, provider: str) -> Endpoint:
        url = self._config.base_urls.get(provider) or self._entries[provider].base_url
        return Endpoint(provider, self._name(provider), url or self.providers[provider].base_url, self._key(provider))

    def _key(self, provider: str) -> str | None:
        secret: Any = getattr(self._config.keys, provider, None) or self._config.more_keys.get(provider)
        return secret.get_secret_value() if secret is not None else None

    def _available(self, provider: str) -> bool:
        if provider in self._config.base_urls or not self.providers[provider].needs_key:
            return True
        return self._key(provider) is not None


def key_variable(provider: str) -> str:
    """The environment variable of a provider's key: the well-known name where there is one."""
    if provider not in ProviderKeys.model_fields:
        return variable_of("provider_caller.more_keys")
    key = f"provider_caller.keys.{provider}"
    return next((name for name, target in ALIASES.items() if target == key), variable_of(key))


def _entries(
    config: ProviderCallerConfig, providers: Mapping[str, Provider], stated: Mapping[str, ProviderEntry]
) -> dict[str, ProviderEntry]:
    """Those of the file, of installed packages and of the operator's own server."""
    _check_names("configs/providers.yaml", stated, providers)
    entries = dict(stated)
    for id, provider in providers.items():
        if id not in entries and provider.entry is not None:
            entries[id] = _own_entry(provider)
    if config.compatible_base_url is not None:
        entries[COMPATIBLE] = _compatible(config)
    return entries


def _own_entry(provider: Provider) -> ProviderEntry:
    try:
        return ProviderEntry.model_validate(provider.entry)
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SetupError(
            f"The entry that the provider {provider.id!r} brings is wrong: {problems}.",
            "Give it a right one in configs/providers.yaml, or uninstall its package.",
        ) from error


def _check_names(source: str, named: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    unknown = sorted(set(named) - set(allowed))
    if unknown:
        where = source if "/" in source else f"provider_caller.{source}"
        raise SetupError(
            f"{where} names {', '.join(unknown)}, which is no provider.", f"Allowed: {', '.join(sorted(allowed))}."
        )


def _priced(entry: ProviderEntry, prices: Mapping[str, tuple[Price, ...]]) -> ProviderEntry:
    """The entry with the prices of the table; those that a model's entry states itself win."""
    models = tuple(
        model if model.prices else model.model_copy(update={"prices": prices.get(model.id, ())})
        for model in entry.models
    )
    return entry.model_copy(update={"models": models})


def _compatible(config: ProviderCallerConfig) -> ProviderEntry:
    if not config.compatible_models:
        raise SetupError(
            "provider_caller.compatible_base_url is set, but no model of that server is named.",
            f"List its model ids in {variable_of('provider_caller.compatible_models')}.",
        )
    return ProviderEntry(
        base_url=config.compatible_base_url,
        models=tuple(Model(id=name, prices=_own_price(config, name)) for name in config.compatible_models),
    )


def _own_price(config: ProviderCallerConfig, model: str) -> tuple[Price, ...]:
    price = config.compatible_prices.get(model)
    if price is None:
        return ()
    return (Price.model_validate({"from": date.min, **price.model_dump()}),)


def _today() -> date:
    return datetime.now(UTC).date()
