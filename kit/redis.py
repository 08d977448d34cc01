"""Clients of Redis that fail fast, and one error for a lost server."""

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

TIMEOUT_SECONDS = 1.0
RETRY_AFTER = 1.0


def redis_client(url: str, *, max_connections: int = 32, timeout: float = TIMEOUT_SECONDS) -> redis.asyncio.Redis:
    """A client with a pool of its own; connections are opened on use. Values come back as bytes.

    timeout: seconds for connecting and for one answer. A call on a connection that turns out to be dead is tried once
    more on a new one: that is what a restarted server looks like.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
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
