"""One simulator for all its tests, which give their calls ids of their own."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import anthropic
import groq
import openai
import pytest

from load.simulator.process import SimulatorProcess, simulator

HELLO = [{"role": "user", "content": "hello there, wheel"}]
HELLO_TOKENS = 5
"""18 bytes."""
ANSWER_TOKENS = 20


@pytest.fixture(scope="session")
def sim() -> Iterator[SimulatorProcess]:
    """With ports of the providers' own; tests that plan faults leave none."""
    with simulator(tokens=ANSWER_TOKENS, seed=7, ports=True) as running:
        yield running
        assert running.counts()["invalid_replies"] == 0


@pytest.fixture(scope="session")
async def openai_client(sim: SimulatorProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """Official and strict."""
    async with openai.AsyncOpenAI(
        base_url=sim.base_url("openai"), api_key="any", max_retries=0, timeout=10, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="session")
async def gemini_client(sim: SimulatorProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, as Google's guide has it."""
    async with openai.AsyncOpenAI(
        base_url=sim.base_url("gemini"), api_key="any", max_retries=0, timeout=10, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="session")
async def anthropic_client(sim: SimulatorProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Official and strict."""
    async with anthropic.AsyncAnthropic(
        base_url=sim.base_url("anthropic").removesuffix("/v1"),
        api_key="any", max_retries=0, timeout=10, _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


@pytest.fixture(scope="session")
async def groq_client(sim: SimulatorProcess) -> AsyncIterator[groq.AsyncGroq]:
    """Official and strict."""
    async with groq.AsyncGroq(
        base_url=sim.base_url("groq").removesuffix("/openai/v1"),
        api_key="any", max_retries=0, timeout=10, _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


@pytest.fixture
def request_id() -> str:
    """Names one call."""
    return uuid4().hex


def named(request_id: str) -> dict[str, str]:
    """The header that names a call."""
    return {"X-Client-Request-Id": request_id}


def eventually(holds: Callable[[], Any]) -> Any:
    """What it returns once that is true."""
    deadline = time.monotonic() + 10
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
    return found


def bill(sim: SimulatorProcess, request_id: str) -> dict[str, Any]:
    """The bill of a call, once that has ended."""

    def ended() -> Any:
        rows = [row for row in sim.bills() if row["request_id"] == request_id]
        return rows[0] if len(rows) == 1 and rows[0]["state"] != "open" else None

    row: dict[str, Any] = eventually(ended)
    return row


def charged(row: dict[str, Any]) -> tuple[int, int, int, int]:
    """Input, cached, cache writes, output."""
    return row["input"], row["cached"], row["cache_write"], row["output"]
