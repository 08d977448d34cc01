"""The provider caller in front of the simulator, with the real Postgres and Redis."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest

from deployments.protocols import Account, ProviderRequest
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.stage import ProviderCallerStage
from kit.errors import PenstockError
from kit.ids import uuid7
from kit.postgres import Databases
from load.simulator.process import SimulatorProcess, simulator


class NoEmbedder:
    """For calls that embed nothing."""

    async def embed(self, texts: object, *, tokens: bool = False) -> None:
        raise AssertionError("nothing should be embedded")


MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-5-5",
    "groq": "openai/gpt-oss-120b",
    "google": "gemini-3.8-flash",
    "perplexity": "sonar",
}
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages")
ACCOUNT = Account("default", "u1", "k1")
FOLDERS = {"google": "gemini"}
"""The simulator's names of providers where they differ from ours."""


@pytest.fixture(scope="package")
def simulated() -> Iterator[SimulatorProcess]:
    with simulator(tokens=12) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_new(simulated: SimulatorProcess) -> None:
    simulated.control(reset="all")


def config_for(simulated: SimulatorProcess) -> ProviderCallerConfig:
    return ProviderCallerConfig.model_validate(
        {
            "keys": dict.fromkeys(MODELS, "sk-secret"),
            "base_urls": {name: simulated.base_url(FOLDERS.get(name, name)) for name in MODELS},
            "idle_timeout": 0.4,
            "resilience": {
                # The clocks of production, quicker; breakers stay shut, for each test sees its own failures.
                "retry": {"first_wait": 0.01, "longest_wait_before_fallback": 0.2, "budget_share": 1.0},
                "first_token": {"least": 0.4, "most": 0.4, "default": 0.4},
                "breaker": {
                    "consecutive_failures": 100_000,
                    "window_failures": 100_000,
                    "key_refusals": 100_000,
                    "broken_key_seconds": 0.001,
                },
                "queue": {"longest_pause": 0.01},
            },
        }
    )


@pytest.fixture(scope="package")
async def databases(services: Any) -> AsyncIterator[Databases]:
    opened = Databases(services.database_url, 8)
    yield opened
    await opened.close()


@pytest.fixture(scope="package")
async def stage(simulated: SimulatorProcess, databases: Databases, redis: Any) -> AsyncIterator[ProviderCallerStage]:
    made = ProviderCallerStage(config_for(simulated), NoEmbedder(), redis, databases)  # type: ignore[arg-type]
    await made.start()
    await warm_up(made)
    yield made
    await made.close()


async def warm_up(stage: ProviderCallerStage) -> None:
    """The simulator builds what it judges requests by when it first needs it: slower than the limits of these tests."""
    for _ in range(2):
        for provider in MODELS:
            for dialect in DIALECTS:
                for stream in (False, True):
                    await answered(stage, request_to([provider], dialect=dialect, stream=stream, timeout=10))


async def answered(stage: ProviderCallerStage, request: ProviderRequest) -> None:
    with contextlib.suppress(PenstockError):
        if orjson.loads(request.body)["stream"]:
            async for _ in stage.stream(request):
                pass
        else:
            await stage.complete(request)


Ask = Callable[..., ProviderRequest]


def content_of(dialect: str, question: str, **fields: Any) -> dict[str, Any]:
    """A small request in a dialect."""
    if dialect == "openai_responses":
        return {"model": "m", "input": question, **fields}
    limit = {"max_tokens": 100} if dialect == "anthropic_messages" else {}
    return {"model": "m", "messages": [{"role": "user", "content": question}], **limit, **fields}


def request_to(
    providers: Sequence[str] = ("openai",),
    *,
    dialect: str = "openai_chat",
    question: str = "Where does the water go?",
    timeout: float = 5,
    account: Account = ACCOUNT,
    **fields: Any,
) -> ProviderRequest:
    """A request whose targets are a model of each provider."""
    return ProviderRequest(
        account=account,
        targets=tuple((provider, MODELS[provider]) for provider in providers),
        dialect=dialect,  # type: ignore[arg-type]
        body=orjson.dumps(content_of(dialect, question, **fields)),
        request_id=f"req-{uuid7().hex}",
        timeout=timeout,
        operation="chat",
        reason="test",
    )


@pytest.fixture
def ask() -> Ask:
    return lambda *providers, **fields: request_to(providers or ("openai",), **fields)
