"""Settings of the provider caller stage."""

from pydantic import Field, SecretStr

from kit.settings import Section


class ProviderKeys(Section):
    """The operator's keys, one per provider of configs/providers.yaml. A provider without a key is not used."""

    openai: SecretStr | None = Field(None, description="Key for OpenAI.")
    anthropic: SecretStr | None = Field(None, description="Key for Anthropic.")
    groq: SecretStr | None = Field(None, description="Key for Groq.")
    perplexity: SecretStr | None = Field(None, description="Key for Perplexity.")
    google: SecretStr | None = Field(None, description="Key for Google Gemini.")
    compatible: SecretStr | None = Field(None, description="Key for the server at `compatible_base_url`, if it asks.")


class ProviderCallerConfig(Section):
    """How providers are called."""

    keys: ProviderKeys = Field(default_factory=ProviderKeys)
    compatible_base_url: str | None = Field(
        None, description="Base URL of any OpenAI-compatible server (vLLM, Ollama, ...), e.g. http://gpu-1:8000/v1."
    )
    compatible_models: list[str] = Field(default_factory=list, description="Model ids that this server answers for.")
    base_urls: dict[str, str] = Field(
        default_factory=dict, description="Base URLs by provider that replace those of configs/providers.yaml."
    )
    connect_timeout: float = Field(5.0, gt=0, description="Seconds to connect to a provider.")
    max_connections: int = Field(256, ge=1, description="Connections one replica keeps to all providers together.")
