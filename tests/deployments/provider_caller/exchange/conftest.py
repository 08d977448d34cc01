"""The provider caller in front of the simulator, with the real Postgres and Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from deployments.protocols import Account, ProviderReply, ProviderRequest, StreamEnd, StreamStart
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.stage import ProviderCallerStage
from kit.errors import PenstockError
from kit.ids import uuid7
from kit.postgres import Databases
from load.simulator.process import SimulatorProcess, simulator
from tests.simulated import HASTY, MODELS, PATIENT, provider_caller_settings, simulated_name

ACCOUNT = Account("default", "u1", "k1")
_BILLED = ("input", "cached", "cache_write", "output")
_RECORDED = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")


class NoEmbedder:
    """For calls that embed nothing."""

    async def embed(self, texts: object, *, tokens: bool = False) -> None:
        raise AssertionError("nothing should be embedded")


@dataclass
class Answered:
    """What came of a request: a reply, or a stream's start, events and end, or an error."""

    reply: ProviderReply | None = None
    start: StreamStart | None = None
    body: bytes = b""
    end: StreamEnd | None = None
    error: PenstockError | None = None


@dataclass
class Desk:
    """A running stage, the simulator behind it, and what both have written down."""

    stage: ProviderCallerStage
    simulated: SimulatorProcess
    databases: Databases

    async def run(self, request: ProviderRequest) -> Answered:
        """The whole way of a request."""
        answered = Answered()
        try:
            if not orjson.loads(request.body).get("stream"):
                answered.reply = await self.stage.complete(request)
                return answered
            async for item in self.stage.stream(request):
                if isinstance(item, bytes):
                    answered.body += item
                elif isinstance(item, StreamStart):
                    answered.start = item
                else:
                    answered.end = item
        except PenstockError as error:
            answered.error = error
        return answered

    async def rows(self, request: ProviderRequest) -> list[dict[str, Any]]:
        """The ledger's, attempt by attempt."""
        await self.stage.ledger.drain()
        statement = "SELECT * FROM usage_ledger WHERE request_id = $1 ORDER BY attempt"
        return [
            dict(row) for row in await self.databases.pool("penstock_t_default").fetch(statement, request.request_id)
        ]

    def bills(self, request: ProviderRequest) -> list[dict[str, Any]]:
        """The simulator's."""
        return [bill for bill in self.simulated.bills() if bill["request_id"] == request.request_id]

    def queue(self, provider: str, *faults: str | None) -> None:
        """Let a provider's next calls fail in these ways."""
        self.simulated.control(faults={simulated_name(provider): {"queue": list(faults)}})


def recorded(rows: Sequence[dict[str, Any]]) -> list[tuple[int, ...]]:
    """Tokens of each attempt by the ledger: input, cached, written to the cache, output."""
    return sorted(tuple(row[name] for name in _RECORDED) for row in rows)


def billed(bills: Sequence[dict[str, Any]]) -> list[tuple[int, ...]]:
    """The same by the simulator."""
    return sorted(tuple(bill[name] for name in _BILLED) for bill in bills)


@pytest.fixture(scope="package")
def simulated() -> Iterator[SimulatorProcess]:
    with simulator(tokens=12) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_new(simulated: SimulatorProcess) -> None:
    simulated.control(reset="all")


@pytest.fixture(scope="package")
async def databases(services: Any) -> AsyncIterator[Databases]:
    opened = Databases(services.database_url, 8)
    yield opened
    await opened.close()


@pytest.fixture(scope="package")
def start_desk(simulated: SimulatorProcess, databases: Databases, redis: Any) -> Any:
    """Starts a stage with settings of its own; see `provider_caller_settings`."""

    @asynccontextmanager
    async def start(*, silence: float = PATIENT, **settings: Any) -> AsyncIterator[Desk]:
        config = ProviderCallerConfig.model_validate(provider_caller_settings(simulated, silence=silence, **settings))
        stage = ProviderCallerStage(config, NoEmbedder(), redis, databases)  # type: ignore[arg-type]
        await stage.start()
        try:
            yield Desk(stage, simulated, databases)
        finally:
            await stage.close()

    return start


@pytest.fixture(scope="package")
async def desk(start_desk: Any) -> AsyncIterator[Desk]:
    """The stage of most tests."""
    async with start_desk() as started:
        yield started


@pytest.fixture(scope="package")
async def hasty(start_desk: Any) -> AsyncIterator[Desk]:
    """One that gives silent streams up soon."""
    async with start_desk(silence=HASTY) as started:
        yield started


Budget = Callable[[int], Awaitable[Account]]


@pytest.fixture
async def budget(databases: Databases, desk: Desk) -> AsyncIterator[Budget]:
    """Gives an API key a hard budget of so many nano-dollars; the account that is bound by it."""
    made: list[str] = []

    async def make(amount: int) -> Account:
        key = uuid7().hex
        made.append(key)
        await databases.control.execute(
            "INSERT INTO budgets (id, tenant_id, scope, subject, amount_nano, period, mode) "
            "SELECT $1, id, 'key', $2, $3, 'day', 'hard' FROM tenants WHERE slug = 'default'",
            *(uuid7(), key, amount),
        )
        await desk.stage.admission.refresh()
        return Account("default", "u1", key)

    yield make
    await databases.control.execute("DELETE FROM budgets WHERE subject = ANY($1)", made)


def content_of(dialect: str, question: str, **fields: Any) -> dict[str, Any]:
    """A small request in a dialect."""
    if dialect == "openai_responses":
        return {"model": "m", "input": question, **fields}
    limit = {"max_tokens": 100} if dialect == "anthropic_messages" else {}
    return {"model": "m", "messages": [{"role": "user", "content": question}], **limit, **fields}


def request_to(
    *providers: str,
    dialect: str = "openai_chat",
    question: str = "Where does the water go?",
    timeout: float = 30,
    account: Account = ACCOUNT,
    models: Mapping[str, str] = MODELS,
    **fields: Any,
) -> ProviderRequest:
    """A request whose targets are a model of each provider."""
    return ProviderRequest(
        account=account,
        targets=tuple((provider, models[provider]) for provider in providers),
        dialect=dialect,  # type: ignore[arg-type]
        body=orjson.dumps(content_of(dialect, question, **fields)),
        request_id=f"req-{uuid7().hex}",
        timeout=timeout,
        operation="chat",
        reason="test",
    )
