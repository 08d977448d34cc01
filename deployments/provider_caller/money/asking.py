"""Sends the script calls of concurrent callers in one round trip.

While a round trip is under way, new calls gather for the next one. So nobody waits to be joined by others, and under
load one write and one read serve many calls; they are most of what asking Redis costs a process.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

MOST = 64
"""Calls in one round trip."""

_Call = tuple[asyncio.Future[Any], Sequence[Any], Sequence[Any]]


class Asking:
    """Calls of one script."""

    def __init__(self, redis: Redis, script: AsyncScript) -> None:
        self._redis: Any = redis  # whose own types are unions of all that any protocol may answer
        self._script = script
        self._waiting: deque[_Call] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """The script's answer. Raises RedisError or OSError. Who is cancelled before it was sent has asked nothing."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, keys, arguments))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ask Redis")
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                calls = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                await self._ask_all([call for call in calls if not call[0].done()])
        finally:
            self._task = None

    async def _ask_all(self, calls: Sequence[_Call]) -> None:
        if not calls:
            return
        try:
            answers = await self._send(calls)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                # All of them: Redis had no script for any.
                await self._redis.script_load(self._script.script)
                answers = await self._send(calls)
        except Exception as error:
            answers = [error] * len(calls)
        for (future, _, _), answer in zip(calls, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for _, keys, arguments in calls:
            pipe.execute_command("EVALSHA", self._script.sha, len(keys), *keys, *arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
