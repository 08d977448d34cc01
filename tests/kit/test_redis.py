import pytest
from redis.exceptions import DataError

from kit.redis import redis_answers, redis_client


@pytest.fixture
async def client(services):
    client = redis_client(services.redis_url)
    yield client
    await client.aclose()


async def test_values_come_back_as_bytes(client):
    await client.set("test:kit", "ü", ex=60)
    assert await client.get("test:kit") == "ü".encode()


async def test_a_server_that_answers_is_healthy(client):
    assert await redis_answers(client)


async def test_a_connection_that_the_server_ended_is_replaced_unseen(client, services):
    identifier = await client.client_id()
    killer = redis_client(services.redis_url)
    await killer.client_kill_filter(_id=identifier)
    await killer.aclose()
    assert await client.ping()
    assert await client.client_id() != identifier


async def test_no_server_is_not_healthy():
    client = redis_client("redis://127.0.0.1:1/0")
    assert not await redis_answers(client)
    await client.aclose()


async def test_every_kind_of_argument_arrives_as_it_was_sent(client):
    large = b"\r\n*1$" * 100_000
    await client.mset({"test:kit:ü": large, b"test:kit:b": "ä", "test:kit:i": -7, "test:kit:f": 1.5})
    assert await client.mget("test:kit:ü", "test:kit:b", "test:kit:i", "test:kit:f") == [
        large,
        "ä".encode(),
        b"-7",
        b"1.5",
    ]
    script = await client.script_load("return ARGV[1]")
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(3):
            pipeline.evalsha(script, 0, number)
        assert await pipeline.execute() == [b"0", b"1", b"2"]


async def test_what_redis_cannot_hold_is_refused(client):
    with pytest.raises(DataError):
        await client.set("test:kit:none", None)


@pytest.mark.parametrize("url", ["redis://u:p@h:1/2", "rediss://h", "unix:///tmp/redis.sock?db=3"])
def test_every_kind_of_url_is_understood(url):
    assert redis_client(url).connection_pool.connection_kwargs
