"""Work that a replica goes on with after its response is out."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger("penstock.background")

MAX_TASKS = 1000


class Background:
    """Owns tasks that no request owns.

    Each runs in an empty context: Ray cancels calls made in a request's context when that request ends.
    """

    def __init__(self, max_tasks: int = MAX_TASKS) -> None:
        self._max_tasks = max_tasks
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run in the background. Dropped, and logged, when too much is under way already."""
        if len(self._tasks) >= self._max_tasks:
            work.close()
            _log.warning("background work dropped", under_way=len(self._tasks))
            return
        task = contextvars.Context().run(asyncio.get_running_loop().create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, timeout: float = 5.0) -> None:
        """Wait for what is under way, then cancel the rest."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout)
        for task in late:
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background work failed", exc_info=error)
