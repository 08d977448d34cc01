"""Clients of Redis that fail fast, and one error for a lost server."""

from collections.abc import Iterable
from typing import Any

import hiredis
import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, DataError, RedisError

TIMEOUT_SECONDS = 1.0
RETRY_AFTER = 1.0


class _PackedInC:
    """Writes commands with hiredis, as redis-py's blocking connections do; its asynchronous ones use Python for it,
    which is a seventh of what a reserved and settled call costs a process."""

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """One command in Redis's protocol. Its first argument may hold several words (`SCRIPT LOAD`)."""
        name, *rest = arguments
        words = name.split()
        try:
            return [hiredis.pack_command((*words, *rest))]
        except (TypeError, hiredis.HiredisError) as error:
            raise DataError(f"An argument of {name!r} is neither text, bytes nor a number.") from error

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Several, for one write."""
        return [b"".join(piece for command in commands for piece in self.pack_command(*command))]


class _Plain(_PackedInC, Connection):
    pass


class _Tls(_PackedInC, SSLConnection):
    pass


class _Socket(_PackedInC, UnixDomainSocketConnection):
    pass


_CONNECTIONS: dict[Any, type[Connection | UnixDomainSocketConnection]] = {
    Connection: _Plain,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Socket,
}


def redis_client(url: str, *, max_connections: int = 32, timeout: float = TIMEOUT_SECONDS) -> redis.asyncio.Redis:
    """A client with a pool of its own; connections are opened on use. Values come back as bytes.

    timeout: seconds for connecting and for one answer. A call on a connection that turns out to be dead is tried once
    more on a new one: that is what a restarted server looks like.
    """
    options: dict[str, Any] = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    pool = redis.asyncio.BlockingConnectionPool(
        **options,
        connection_class=_CONNECTIONS[kind],
        max_connections=max_connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )
    return redis.asyncio.Redis.from_pool(pool)


async def redis_answers(client: redis.asyncio.Redis) -> bool:
    """Whether the server answers now."""
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
