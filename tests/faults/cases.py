"""The cases: a request in each dialect to a provider that speaks it or does not, and what came back."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from kit.ids import uuid7
from tests.simulated import MODELS

ANSWER_TOKENS = 12
ANSWER_BYTES = ANSWER_TOKENS * 4
FALLBACK = ("google", MODELS["google"])
"""The only fallback. It has the largest context window, so that it may stand in for any other."""

Surface = Literal["chat completions", "responses", "messages"]
SURFACES: tuple[Surface, ...] = ("chat completions", "responses", "messages")
PATHS: dict[Surface, str] = {
    "chat completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
NATIVE: dict[Surface, str] = {"chat completions": "openai", "responses": "openai", "messages": "anthropic"}
TRANSLATED: dict[Surface, str] = {"chat completions": "anthropic", "responses": "anthropic", "messages": "openai"}
QUESTION = "Where does the water of the river go?"


@dataclass(frozen=True)
class Case:
    """native: the provider speaks the surface's dialect. fallback: there is one."""

    fault: str
    surface: Surface
    stream: bool
    native: bool
    fallback: bool

    @property
    def provider(self) -> str:
        return (NATIVE if self.native else TRANSLATED)[self.surface]

    @property
    def body(self) -> dict[str, Any]:
        """What the client sends."""
        model = MODELS[self.provider]
        if self.surface == "responses":
            return {"model": model, "input": QUESTION, "stream": self.stream}
        body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": self.stream}
        return body | ({"max_tokens": 100} if self.surface == "messages" else {})


@dataclass
class Result:
    """What the client got over the wire, and what the ledger and the simulator say of it."""

    case: Case
    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    bills: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spent(self) -> list[tuple[int, ...]]:
        """Tokens of each attempt by the ledger."""
        names = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
        return sorted(tuple(row[name] for name in names) for row in self.rows)

    @property
    def billed(self) -> list[tuple[int, ...]]:
        """The same by the simulator."""
        return sorted(tuple(bill[name] for name in ("input", "cached", "cache_write", "output")) for bill in self.bills)


async def ask(url: str, keys: Mapping[bool, str], cases: Sequence[Case]) -> list[Result]:
    """All at once."""

    async def one(session: aiohttp.ClientSession, case: Case) -> Result:
        request_id = f"fault-{uuid7().hex}"
        headers = {"authorization": f"Bearer {keys[case.fallback]}", "x-request-id": request_id}
        async with session.post(PATHS[case.surface], json=case.body, headers=headers) as response:
            body = await response.read()
            named = {name.lower(): value for name, value in response.headers.items()}
            return Result(case, response.status, named, body, request_id)

    async with aiohttp.ClientSession(url) as session:
        return await asyncio.gather(*(one(session, case) for case in cases))
