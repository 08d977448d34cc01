"""Connections to many databases of one Postgres server, under one budget.

Connections are opened on use, kept for the next use and closed when idle. When the budget is spent, an idle connection
of another database makes room. A server that is lost is an `UnavailableError`; connections work again once it is back.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pgvector.asyncpg

from kit.errors import UnavailableError

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
else:
    Connection: TypeAlias = asyncpg.Connection

IDLE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
BUDGET_WAIT_SECONDS = 10.0
RETRY_AFTER = 1.0

LOST_SERVER = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # a connection on which the server's farewell has been read, not yet its end
)
"""What asyncpg raises when the server is starting, going down or gone."""
LOST = (OSError, *LOST_SERVER)
"""The same while connecting. TimeoutError is an OSError."""


def database_url(url: str, database: str) -> str:
    """The same server and credentials, another database."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def with_default_database(url: str, database: str) -> str:
    """The URL in asyncpg's spelling, with a database name put in if it has none."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    path = parts.path if parts.path.strip("/") else "/" + quote(database, safe="")
    return urlunsplit(parts._replace(scheme=scheme, path=path))


def database_of(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.strip("/")


def host_of(url: str) -> str:
    """Host and port of a URL, for messages: no credentials."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port}" if parts.port else (parts.hostname or "localhost")


@contextlib.contextmanager
def lost_server_is_unavailable() -> Iterator[None]:
    """Around connecting: turns a server that cannot be reached into UnavailableError."""
    try:
        yield
    except LOST as error:
        raise _unavailable() from error


@contextlib.contextmanager
def lost_connection_is_unavailable(connection: Connection) -> Iterator[None]:
    """Around the use of a connection: turns its loss into UnavailableError; other errors of the block pass."""
    try:
        yield
    except LOST_SERVER as error:
        raise _unavailable() from error
    except (OSError, asyncpg.InterfaceError) as error:
        if not connection.is_closed():
            raise
        raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError("The database cannot be reached now.", retry_after=RETRY_AFTER)


async def _close(connection: Connection) -> None:
    with contextlib.suppress(*LOST, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=1)


class Database:
    """One database. Obtained from `Databases.pool`; holds nothing itself."""

    def __init__(self, databases: "Databases", name: str) -> None:
        self.name = name
        self._databases = databases

    def acquire(self) -> "contextlib.AbstractAsyncContextManager[Connection]":
        """A connection for the time of an `async with` block; a transaction left open in it is rolled back."""
        return self._databases.acquire(self.name)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction that commits at the end of the block."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows."""
        async with self.acquire() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> str:
        """Run a statement; its status line."""
        async with self.acquire() as connection:
            return await connection.execute(query, *arguments)

    async def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row, in one transaction."""
        async with self.acquire() as connection:
            await connection.executemany(query, rows)


class Databases:
    """All connections of one process to one server. Belongs to one event loop."""

    def __init__(self, control_url: str, max_connections: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """control_url: of the control database; other databases lie on the same server. max_connections: the most
        that are open at once, all databases together."""
        self.control_url = control_url
        self.max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[tuple[float, str, Connection]] = []  # oldest use first
        self._open = 0
        self._reaper: asyncio.Task[None] | None = None

    @property
    def control(self) -> Database:
        """The control database."""
        return self.pool(database_of(self.control_url))

    def pool(self, database_name: str) -> Database:
        """A database of the server by name; connections are opened on use."""
        return Database(self, database_name)

    @property
    def open_connections(self) -> int:
        """Connections that are open now, idle ones included."""
        return self._open

    @contextlib.asynccontextmanager
    async def acquire(self, name: str) -> AsyncIterator[Connection]:
        """See Database.acquire. Raises UnavailableError when the server is lost or the budget stays spent."""
        try:
            async with asyncio.timeout(BUDGET_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise UnavailableError(
                f"All {self.max_connections} database connections are in use.", retry_after=RETRY_AFTER
            ) from None
        try:
            with lost_server_is_unavailable():
                connection = await self._take(name)
            try:
                with lost_connection_is_unavailable(connection):
                    yield connection
            finally:
                await asyncio.shield(self._give_back(name, connection))
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close idle connections. Those in use close when they come back."""
        self.max_connections = 0
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        await asyncio.gather(*(self._discard(connection) for _, _, connection in self._drain(math.inf)))

    async def _take(self, name: str) -> Connection:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][1] == name:
                connection = self._idle.pop(index)[2]
                if not connection.is_closed():
                    return connection
                self._open -= 1
        evicted = self._idle.pop(0)[2] if self._open >= self.max_connections and self._idle else None
        self._open += evicted is None  # else the new one takes the place of the evicted one
        try:
            if evicted is not None:
                await _close(evicted)
            return await self._connect(name)
        except BaseException:
            self._open -= 1
            raise

    async def _connect(self, name: str) -> Connection:
        connection = await asyncpg.connect(database_url(self.control_url, name), timeout=CONNECT_SECONDS)
        try:
            await pgvector.asyncpg.register_vector(connection)
        except ValueError:
            pass  # a database without the extension, such as the control database
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _give_back(self, name: str, connection: Connection) -> None:
        try:
            if not connection.is_closed():
                await connection.reset(timeout=CONNECT_SECONDS)
        except (*LOST, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
        if connection.is_closed() or self.max_connections == 0:
            await self._discard(connection)
            return
        self._idle.append((time.monotonic(), name, connection))
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._close_idle(), name="close idle database connections")

    async def _discard(self, connection: Connection) -> None:
        self._open -= 1
        await _close(connection)

    async def _close_idle(self) -> None:
        """Runs while there are idle connections."""
        while self._idle:
            await asyncio.sleep(self._idle_seconds / 2)
            limit = time.monotonic() - self._idle_seconds
            for _, _, connection in self._drain(limit):
                await self._discard(connection)
        self._reaper = None

    def _drain(self, limit: float) -> list[tuple[float, str, Connection]]:
        """Take out the idle connections that were last used before `limit`."""
        leaving = [entry for entry in self._idle if entry[0] < limit]
        self._idle = [entry for entry in self._idle if entry[0] >= limit]
        return leaving
