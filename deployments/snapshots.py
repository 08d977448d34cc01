"""Small tables of the control database, kept in memory by every process that decides by them.

Each table's triggers raise the version of its domain (`snapshot_versions`); a snapshot looks at that one row every two
seconds and loads again what has changed. While Postgres is lost, the last state goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from kit.errors import UnavailableError
from kit.postgres import Databases
from kit.tasks import stop

REFRESH_EVERY = 2.0
"""Seconds. A change holds everywhere within this time and the time of loading it."""

T = TypeVar("T")

_VERSION = "SELECT coalesce((SELECT version FROM snapshot_versions WHERE domain = $1), 0)"
_log = structlog.get_logger("penstock.snapshots")


class Snapshot(Generic[T]):
    """One domain's state. `empty` stands until the first loading; `load` reads everything."""

    def __init__(
        self,
        databases: Databases,
        domain: str,
        load: Callable[[Databases], Awaitable[T]],
        *,
        empty: T,
        every: float = REFRESH_EVERY,
    ) -> None:
        self._databases = databases
        self._domain = domain
        self._load = load
        self._every = every
        self._version: int | None = None
        self._task: asyncio.Task[None] | None = None
        self.value = empty

    @property
    def loaded(self) -> bool:
        """Whether `value` is what the database has, or had: not so in a process that started without Postgres."""
        return self._version is not None

    async def start(self) -> None:
        """Load, and go on looking for changes. A lost Postgres does not hinder the start."""
        await self._try_refresh()
        self._task = asyncio.create_task(self._run(), name=f"snapshot of {self._domain}")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            await stop(self._task)

    async def refresh(self) -> bool:
        """Load if something has changed; whether it had. Raises UnavailableError."""
        version = await self._databases.control.fetchval(_VERSION, self._domain)
        if version == self._version:
            return False
        self.value = await self._load(self._databases)
        # Read before the rows: a change in between is loaded once more, never missed.
        self._version = version
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._try_refresh()
            except Exception:
                # Whatever it was: a loop that ended here would keep today's state for ever.
                _log.exception("snapshot not refreshed", domain=self._domain)

    async def _try_refresh(self) -> None:
        try:
            await self.refresh()
        except UnavailableError as error:
            _log.warning("snapshot not refreshed", domain=self._domain, reason=error.message)
