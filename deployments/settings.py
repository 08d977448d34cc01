"""All settings in one typed tree: the platform's own sections and one for each stage."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator

from deployments.cache.config import CacheConfig
from deployments.embedder.config import EmbedderConfig
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.reranker.config import RerankerConfig
from deployments.retriever.config import RetrieverConfig
from deployments.router.config import RouterConfig
from kit.crypto import EncryptionConfig
from kit.settings import PREFIX, Section, keys, load, variable_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
ENVIRONMENTS = ("development", "staging", "production")

ALIASES = {
    "ENVIRONMENT": "environment",
    "DEBUG": "debug",
    "LOG_LEVEL": "log_level",
    "DATABASE_URL": "database.url",
    "REDIS_URL": "redis.url",
    "OPENAI_API_KEY": "provider_caller.keys.openai",
    "ANTHROPIC_API_KEY": "provider_caller.keys.anthropic",
    "GROQ_API_KEY": "provider_caller.keys.groq",
    "PERPLEXITY_API_KEY": "provider_caller.keys.perplexity",
    "GOOGLE_API_KEY": "provider_caller.keys.google",
    "USE_LOCAL_EMBEDDINGS": "embedder.use_local",
    "RAG_ENABLED": "server.rag_enabled",
    "CACHE_TTL": "cache.ttl",
    "MAX_WORKERS": "server.max_workers",
    "REQUEST_TIMEOUT": "server.request_timeout",
}
"""Well-known variable names and the keys they set."""

RESERVED = ("PENSTOCK_RUN",)
"""Variables that mark the processes of a running platform; no settings."""


class ServerSettings(Section):
    """The HTTP surface."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    profile: Literal["local", "inline", "cluster"] = Field("local", description="Serve profile: where stages run.")
    request_timeout: float = Field(30.0, gt=0, le=3600, description="Seconds a request may take, streams included.")
    max_body_bytes: int = Field(10_000_000, ge=1, description="Larger request bodies are refused with 413.")
    max_workers: int | None = Field(None, ge=1, description="Most replicas that any one stage may scale to.")
    rag_enabled: bool = Field(True, description="False: questions go to a model without retrieval.")
    cors_origins: list[str] = Field(default_factory=list, description="Origins that browsers may call from.")
    metrics_allow: list[str] = Field(
        default_factory=lambda: ["127.0.0.1", "::1"], description="Addresses that read /metrics without a key."
    )


class DatabaseSettings(Section):
    """Postgres."""

    url: SecretStr | None = Field(None, description="postgresql:// URL of a server; none: embedded Postgres.")
    max_connections: int = Field(60, ge=4, description="Connections of all processes together.")


class RedisSettings(Section):
    """Redis."""

    url: SecretStr | None = Field(None, description="redis:// URL of a server; none: embedded Redis.")


class EgressSettings(Section):
    """Where the platform connects to on a tenant's behalf."""

    tenant_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts (NAME or NAME:PORT) that tenants' own URLs may name though they are private or plain HTTP.",
    )

    @field_validator("tenant_hosts")
    @classmethod
    def _are_hosts(cls, value: list[str]) -> list[str]:
        if any(not host or set(host) & set("/@? ") for host in value):
            raise ValueError("must be names or addresses, with a port or without, such as llm.internal:8000")
        return value


class Settings(Section):
    """Everything that can be set."""

    environment: Literal["development", "staging", "production"] = Field("development", description="Environment.")
    debug: bool = Field(False, description="Tracebacks in logs of failed requests.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    home: Path = Field(default_factory=lambda: default_home(), description="Folder of all local state.")
    server: ServerSettings = Field(default_factory=ServerSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    embedder: EmbedderConfig = Field(default_factory=EmbedderConfig)
    retriever: RetrieverConfig = Field(default_factory=RetrieverConfig)
    reranker: RerankerConfig = Field(default_factory=RerankerConfig)
    router: RouterConfig = Field(default_factory=RouterConfig)
    provider_caller: ProviderCallerConfig = Field(default_factory=ProviderCallerConfig)
    cache: CacheConfig = Field(default_factory=CacheConfig)
    encryption: EncryptionConfig = Field(default_factory=EncryptionConfig)
    egress: EgressSettings = Field(default_factory=EgressSettings)


def default_home() -> Path:
    """`/var/lib/penstock` for root, whose servers run as an unprivileged user, else `~/.penstock`."""
    return Path("/var/lib/penstock") if os.geteuid() == 0 else Path.home() / ".penstock"


def load_settings(environ: dict[str, str] | None = None, *, dotenv: Path | None = Path(".env")) -> Settings:
    """Settings of this process. Raises SettingsError (exit code 2) that lists every wrong or unknown key."""
    environ = dict(os.environ) if environ is None else environ
    environment = _environment(environ, dotenv)
    # A name that is not allowed is reported with everything else that is wrong.
    file = CONFIGS / "environments" / f"{environment}.yaml" if environment in ENVIRONMENTS else None
    return load(Settings, file=file, environ=environ, dotenv=dotenv, aliases=ALIASES, reserved=RESERVED)


def with_dotenv(environ: Mapping[str, str], dotenv: Path = Path(".env")) -> dict[str, str]:
    """An environment from which `load_settings(dotenv=None)` reads what it reads from `environ` with that file.

    For processes of the cluster, which may run in another folder. The file's other variables stay out.
    """
    key_of = {variable_of(key): key for key, _ in keys(Settings)} | ALIASES
    taken = {key_of[name] for name, value in environ.items() if value and name in key_of}
    from_file = {name: value for name, value in dotenv_values(dotenv, interpolate=False).items() if value}
    known = {
        name: value
        for name, value in from_file.items()
        if (name in key_of or name.startswith(PREFIX)) and key_of.get(name) not in taken
    }
    return {**environ, **known}


def _environment(environ: dict[str, str], dotenv: Path | None) -> str:
    """Which environment's file to read: it must be known before the settings are."""
    from_file = dotenv_values(dotenv, interpolate=False) if dotenv is not None else {}
    for variables in (environ, from_file):
        named = variables.get("PENSTOCK_ENVIRONMENT") or variables.get("ENVIRONMENT")
        if named:
            return named
    return "development"
