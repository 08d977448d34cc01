"""Which providers and models there are, what they cost, and which of them the operator has made usable."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import Field

from deployments.protocols import Usage
from deployments.provider_caller.call import Endpoint
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.settings import ALIASES, CONFIGS
from kit.errors import SetupError
from kit.settings import Section, variable_of

LOCAL = "local"
LOCAL_MODEL = "local/extractive"
COMPATIBLE = "compatible"


class Price(Section):
    """Nano-dollars per token, from a day on, for prompts of at most `up_to` tokens."""

    start: date = Field(alias="from")
    input: int = Field(gt=0)
    output: int = Field(gt=0)
    cached_input: int | None = Field(None, gt=0)
    up_to: int | None = Field(None, gt=0)


class Model(Section):
    """One model of a provider."""

    id: str = Field(min_length=1)
    context_window: int | None = Field(None, gt=0)
    prices: tuple[Price, ...] = ()

    def price(self, day: date) -> Price | None:
        """The price on a day, None where unknown."""
        return max((p for p in self.prices if p.start <= day), key=lambda p: p.start, default=None)


class Provider(Section):
    """A server that speaks OpenAI's chat completions. `retired` says why its own address no longer does."""

    name: str
    base_url: str
    retired: str | None = None
    models: tuple[Model, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderState:
    """A provider as a router sees it: no secrets. `remedy` says what the operator must do to make it available."""

    id: str
    name: str
    available: bool
    remedy: str
    models: tuple[Model, ...]


def load_providers(file: Path = CONFIGS / "providers.yaml") -> dict[str, Provider]:
    """The providers of a file by id. Raises SetupError that lists everything wrong in it."""
    try:
        return pydantic.TypeAdapter(dict[str, Provider]).validate_python(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise SetupError(f"{file} cannot be read: {error}", "Restore the file.") from error
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SetupError(f"{file} is wrong: {problems}.", "Correct the file.") from error


class Catalogue:
    """The providers of configs/providers.yaml with the operator's settings applied. Raises SetupError."""

    def __init__(self, config: ProviderCallerConfig, providers: dict[str, Provider] | None = None) -> None:
        self._providers = load_providers() if providers is None else dict(providers)
        self._config = config
        if config.compatible_base_url is not None:
            self._providers[COMPATIBLE] = _compatible(config)
        unknown = sorted(set(config.base_urls) - set(self._providers))
        if unknown:
            raise SetupError(
                f"provider_caller.base_urls names {', '.join(unknown)}, which is no provider.",
                f"Allowed: {', '.join(sorted(self._providers))}.",
            )
        self._endpoints = {id: self._endpoint(id) for id in self._providers if self._available(id)}
        self._models = {(id, model.id): model for id, entry in self._providers.items() for model in entry.models}

    def states(self) -> tuple[ProviderState, ...]:
        """Every provider, available or not."""
        return tuple(
            ProviderState(id, provider.name, self._available(id), self._remedy(id), provider.models)
            for id, provider in self._providers.items()
        )

    def endpoint(self, provider: str) -> Endpoint | None:
        """How to call a provider; None for one that is unknown or not available."""
        return self._endpoints.get(provider)

    def cost(self, provider: str, model: str, usage: Usage, day: date | None = None) -> int | None:
        """Nano-dollars of a call, None where its price is unknown. `usage.input_tokens` includes the cached ones."""
        entry = self._models.get((provider, model))
        price = entry.price(day or datetime.now(UTC).date()) if entry else None
        if price is None or (price.up_to is not None and usage.input_tokens > price.up_to):
            return None
        cached = min(usage.cached_tokens, usage.input_tokens)
        cached_price = price.input if price.cached_input is None else price.cached_input
        fresh = usage.input_tokens - cached
        return fresh * price.input + cached * cached_price + usage.output_tokens * price.output

    def _endpoint(self, provider: str) -> Endpoint:
        entry = self._providers[provider]
        return Endpoint(provider, entry.name, self._config.base_urls.get(provider, entry.base_url), self._key(provider))

    def _key(self, provider: str) -> str | None:
        secret: Any = getattr(self._config.keys, provider, None)
        return secret.get_secret_value() if secret is not None else None

    def _available(self, provider: str) -> bool:
        if provider == COMPATIBLE or provider in self._config.base_urls:
            return True
        return self._key(provider) is not None and self._providers[provider].retired is None

    def _remedy(self, provider: str) -> str:
        retired = self._providers[provider].retired
        if retired is not None:
            return f"{retired}; set {variable_of('provider_caller.base_urls')} to an endpoint that serves it"
        return f"set {key_variable(provider)}"


def key_variable(provider: str) -> str:
    """The environment variable of a provider's key: the well-known name where there is one."""
    key = f"provider_caller.keys.{provider}"
    return next((name for name, target in ALIASES.items() if target == key), variable_of(key))


def _compatible(config: ProviderCallerConfig) -> Provider:
    if not config.compatible_models:
        raise SetupError(
            "provider_caller.compatible_base_url is set, but no model of that server is named.",
            f"List its model ids in {variable_of('provider_caller.compatible_models')}.",
        )
    models = tuple(Model(id=name) for name in config.compatible_models)
    return Provider(name="The compatible server", base_url=config.compatible_base_url or "", models=models)
