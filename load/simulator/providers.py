"""The providers: where each is found under the simulator's port, what it speaks, and its models."""

from dataclasses import dataclass

from load.simulator.anthropic_messages import AnthropicMessages
from load.simulator.openai_chat import OpenAIChat
from load.simulator.openai_responses import OpenAIResponses
from load.simulator.perplexity import PerplexityAgent
from load.simulator.reply import Dialect

PLAIN_MODEL = "mock-model"


@dataclass(frozen=True, slots=True)
class Model:
    """window: tokens of the longest prompt; None: any. `reasons`: its answers begin with reasoning."""

    id: str
    window: int | None = None
    reasons: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """prefix: of its paths, what a client is configured with. errors: how it words them. caching: its prompt cache,
    `implicit`, `explicit` or none. A model that is not listed is accepted too, without a window."""

    name: str
    prefix: str
    errors: str
    caching: str
    models: tuple[Model, ...]

    def model(self, name: str) -> Model:
        """The listed model or one of that name."""
        return next((model for model in self.models if model.id == name), Model(name))


@dataclass(frozen=True, slots=True)
class Route:
    """What a path is for. operation: `chat`, `responses`, `messages` (all answered by `dialect`), `count_tokens`,
    `embeddings` or `models`. schema: the name of its request in `schemas`."""

    provider: Provider
    operation: str
    schema: str = ""
    dialect: Dialect | None = None


OPENAI = Provider(
    "openai",
    "/openai/v1",
    "openai",
    "implicit",
    (
        Model("gpt-6.1-sol", 1_050_000, reasons=True),
        Model("gpt-6-luna", 1_050_000),
        Model("gpt-4o", 128_000),
        Model("gpt-4o-mini", 128_000),
        Model("text-embedding-3-small", 8_191),
    ),
)
ANTHROPIC = Provider(
    "anthropic",
    "/anthropic/v1",
    "anthropic",
    "explicit",
    tuple(Model(name, 1_000_000) for name in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")),
)
GROQ = Provider(
    "groq",
    "/groq/openai/v1",
    "groq",
    "implicit",
    (
        Model("openai/gpt-oss-120b", 131_072, reasons=True),
        Model("openai/gpt-oss-20b", 131_072, reasons=True),
        Model("llama-3.3-70b-versatile", 131_072),
    ),
)
GEMINI = Provider(
    "gemini",
    "/gemini/v1beta/openai",
    "gemini",
    "implicit",
    (
        Model("gemini-3.1-pro-preview", 1_048_576),
        Model("gemini-3.8-flash", 1_000_000),
        Model("gemini-3.5-flash-lite", 1_000_000),
    ),
)
PERPLEXITY = Provider(
    "perplexity", "/perplexity", "perplexity", "none", (Model("perplexity/sonar", 128_000), Model("sonar", 128_000))
)
PLAIN = Provider("compatible", "/v1", "openai", "none", (Model(PLAIN_MODEL),))

PROVIDERS = {one.name: one for one in (OPENAI, ANTHROPIC, GROQ, GEMINI, PERPLEXITY, PLAIN)}

_CHAT, _RESPONSES, _MESSAGES = OpenAIChat(), OpenAIResponses(), AnthropicMessages()
_GROQ_CHAT = OpenAIChat(shows_reasoning=True, groq=True)
_PLAIN_CHAT = OpenAIChat(details=False)
_SONAR, _AGENT = OpenAIChat(sonar=True), PerplexityAgent()

_POSTS: tuple[tuple[Provider, str, str, str, Dialect | None], ...] = (
    (OPENAI, "/chat/completions", "chat", "openai_chat", _CHAT),
    (OPENAI, "/responses", "responses", "openai_responses", _RESPONSES),
    (OPENAI, "/embeddings", "embeddings", "openai_embeddings", None),
    (ANTHROPIC, "/messages", "messages", "anthropic_messages", _MESSAGES),
    (ANTHROPIC, "/messages/count_tokens", "count_tokens", "anthropic_count", _MESSAGES),
    (GROQ, "/chat/completions", "chat", "groq_chat", _GROQ_CHAT),
    (GROQ, "/responses", "responses", "groq_responses", _RESPONSES),
    (GEMINI, "/chat/completions", "chat", "gemini_chat", _CHAT),
    (PERPLEXITY, "/v1/agent", "responses", "perplexity_agent", _AGENT),
    (PERPLEXITY, "/v1/responses", "responses", "perplexity_agent", _AGENT),
    (PERPLEXITY, "/v1/sonar", "chat", "perplexity_sonar", _SONAR),
    (PERPLEXITY, "/chat/completions", "chat", "perplexity_sonar", _SONAR),
    (PLAIN, "/chat/completions", "chat", "plain_chat", _PLAIN_CHAT),
    (PLAIN, "/embeddings", "embeddings", "plain_embeddings", None),
)


def _routes() -> dict[tuple[bytes, bytes], Route]:
    found = {}
    for provider, path, operation, schema, dialect in _POSTS:
        found[b"POST", (provider.prefix + path).encode()] = Route(provider, operation, schema, dialect)
    for provider in PROVIDERS.values():
        path = "/v1/models" if provider is PERPLEXITY else "/models"
        found[b"GET", (provider.prefix + path).encode()] = Route(provider, "models")
    return found


ROUTES = _routes()
"""By method and path."""
