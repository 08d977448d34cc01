import pytest

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
