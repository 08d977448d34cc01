"""Asks questions of a running product, so many at a time, in a mixed order."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import orjson

from load.loopback import loopback_address
from load.routing_day import ANSWER_TOKENS, Call, Question

TIMEOUT_SECONDS = 60.0
FALLBACK = "a fallback answers"
"""In the reason that an answer gives for its model."""


@dataclass(frozen=True, slots=True)
class Ask:
    """system: whose figures the answer belongs to. model: as a caller names it."""

    system: str
    model: str
    question: Question
    round: int


@dataclass(slots=True)
class Replay:
    """calls: by system. errors: by what went wrong, with how often."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)


class Asker:
    """One product. time_scale: of the providers' clock; what was measured is divided by it."""

    def __init__(self, url: str, key: str, *, connections: int, time_scale: float) -> None:
        """Raises NotLoopbackError for another machine's URL."""
        loopback_address(url)
        self._url = f"{url.rstrip('/')}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._connections = connections
        self._time_scale = time_scale

    async def replay(self, asks: Sequence[Ask], source: random.Random, done: Callable[[], None]) -> Replay:
        """Ask everything once. Systems are mixed, so that whatever disturbs the machine disturbs all alike."""
        waiting = list(asks)
        source.shuffle(waiting)
        found = Replay()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:

            async def work() -> None:
                while waiting:
                    await self._ask(session, waiting.pop(), found)
                    done()

            await asyncio.gather(*(work() for _ in range(self._connections)))
        return found

    async def _ask(self, session: aiohttp.ClientSession, ask: Ask, found: Replay) -> None:
        body = orjson.dumps(
            {
                "model": ask.model,
                "messages": [{"role": "user", "content": ask.question.text}],
                "max_completion_tokens": ANSWER_TOKENS[ask.question.operation],
                "penstock": {"cache": False},
            }
        )
        began = time.perf_counter()
        try:
            async with session.post(self._url, data=body) as response:
                answer = await response.read()
                seconds = time.perf_counter() - began
                problem = None if response.status == 200 else _problem(response.status, answer)
                headers = response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = type(error).__name__
        if problem is not None:
            name = f"{ask.system}: {problem}"
            found.errors[name] = found.errors.get(name, 0) + 1
            return
        cost = headers.get("x-penstock-cost-usd")
        found.calls.setdefault(ask.system, []).append(
            Call(
                ask.question,
                ask.round,
                headers.get("x-penstock-provider", ""),
                headers.get("x-penstock-model", ""),
                seconds / self._time_scale,
                None if cost is None else float(cost),
                FALLBACK in headers.get("x-penstock-route-reason", ""),
            )
        )


def _problem(status: int, answer: bytes) -> str:
    try:
        return f"status {status}: {orjson.loads(answer)['error']['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"status {status}"
