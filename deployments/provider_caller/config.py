"""Settings of the provider caller stage."""

from decimal import Decimal

from pydantic import Field, SecretStr

from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.resilience.config import ResilienceConfig
from kit.settings import Section


class ProviderKeys(Section):
    """The operator's keys, one per provider of configs/providers.yaml. A provider without a key is not used."""

    openai: SecretStr | None = Field(None, description="Key for OpenAI.")
    anthropic: SecretStr | None = Field(None, description="Key for Anthropic.")
    groq: SecretStr | None = Field(None, description="Key for Groq.")
    perplexity: SecretStr | None = Field(None, description="Key for Perplexity.")
    google: SecretStr | None = Field(None, description="Key for Google Gemini.")
    compatible: SecretStr | None = Field(None, description="Key for the server at `compatible_base_url`, if it asks.")


class ProviderLimits(Section):
    """What a provider allows this account, as far as it is known in advance. None: not known."""

    requests_per_minute: int | None = Field(None, ge=1)
    requests_per_day: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    max_concurrency: int | None = Field(None, ge=1)


class ServerPrice(Section):
    """What the operator reckons for a model of the own server: nano-dollars per token."""

    input: int = Field(ge=0)
    output: int = Field(ge=0)
    cached_input: Decimal | None = Field(None, ge=0)


class ProviderCallerConfig(Section):
    """How providers are called."""

    keys: ProviderKeys = Field(default_factory=ProviderKeys)
    more_keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Keys of providers that installed packages add, by provider."
    )
    compatible_base_url: str | None = Field(
        None, description="Base URL of any OpenAI-compatible server (vLLM, Ollama, ...), e.g. http://gpu-1:8000/v1."
    )
    compatible_models: list[str] = Field(default_factory=list, description="Model ids that this server answers for.")
    compatible_prices: dict[str, ServerPrice] = Field(
        default_factory=dict,
        description="Nano-dollars per token of these models: input, output, cached_input. Unknown where not set.",
    )
    base_urls: dict[str, str] = Field(
        default_factory=dict, description="Base URLs by provider that replace those of configs/providers.yaml."
    )
    limits: dict[str, ProviderLimits] = Field(
        default_factory=dict,
        description="Limits by provider that replace those of configs/providers.yaml: requests_per_minute, "
        "requests_per_day, tokens_per_minute, max_concurrency.",
    )
    idle_timeout: float = Field(
        20.0, gt=0, description="Seconds without an event after which a stream that has begun is given up."
    )
    connect_timeout: float = Field(5.0, gt=0, description="Seconds to connect to a provider.")
    max_connections: int = Field(256, ge=1, description="Connections one replica keeps to all providers together.")
    max_answer_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="A provider's whole answer may have as many bytes at most."
    )
    resilience: ResilienceConfig = Field(default_factory=ResilienceConfig)
    money: MoneyConfig = Field(default_factory=MoneyConfig)
