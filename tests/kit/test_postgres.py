import asyncio

import asyncpg
import numpy as np
import pytest

from kit import postgres
from kit.errors import UnavailableError
from kit.postgres import Databases, database_of, database_url, host_of, with_default_database


@pytest.fixture
async def databases(services):
    databases = Databases(services.database_url, 2)
    yield databases
    await databases.close()


def test_urls_change_their_database_and_keep_the_rest():
    url = "postgresql://user:p%40ss@host:5432/one?sslmode=require"
    assert database_url(url, "two") == "postgresql://user:p%40ss@host:5432/two?sslmode=require"
    assert database_of(url) == "one"
    assert host_of(url) == "host:5432"
    assert with_default_database("postgresql+asyncpg://host", "control") == "postgresql://host/control"
    assert with_default_database("postgres://host/own", "control") == "postgres://host/own"


async def test_a_connection_is_used_again(databases):
    first = await databases.control.fetchval("SELECT pg_backend_pid()")
    assert await databases.control.fetchval("SELECT pg_backend_pid()") == first
    assert databases.open_connections == 1


async def test_vectors_come_as_arrays(databases, services):
    tenant = databases.pool(services.tenant_database)
    vector = np.array([1, 2, 3], dtype=np.float32)
    assert await tenant.fetchval("SELECT $1::vector <-> '[1,2,5]'", vector) == 2.0
    returned = await tenant.fetchval("SELECT $1::vector", vector)
    assert np.array_equal(returned.to_numpy(), vector)


async def test_an_idle_connection_of_another_database_makes_room_in_the_budget(databases, services):
    tenant = databases.pool(services.tenant_database)
    async with databases.control.acquire(), databases.control.acquire():
        pass
    async with tenant.acquire() as one, tenant.acquire() as two:
        assert await one.fetchval("SELECT current_database()") == services.tenant_database
        assert await two.fetchval("SELECT 1") == 1
        assert databases.open_connections == 2


async def test_many_users_share_a_small_budget(databases, services):
    names = ["penstock_control", services.tenant_database] * 20
    results = await asyncio.gather(
        *(databases.pool(name).fetchval("SELECT current_database() FROM pg_sleep(0.002)") for name in names)
    )
    assert results == names
    assert databases.open_connections <= 2


async def test_a_spent_budget_is_an_unavailable_error(databases, monkeypatch):
    monkeypatch.setattr(postgres, "BUDGET_WAIT_SECONDS", 0.01)
    async with databases.control.acquire(), databases.control.acquire():
        with pytest.raises(UnavailableError, match="All 2"):
            await databases.control.fetchval("SELECT 1")
    assert await databases.control.fetchval("SELECT 1") == 1


async def test_idle_connections_are_closed(services):
    databases = Databases(services.database_url, 2, idle_seconds=0.05)
    assert await databases.control.fetchval("SELECT 1") == 1
    async with asyncio.timeout(10):
        while databases.open_connections:
            await asyncio.sleep(0.02)
    assert await databases.control.fetchval("SELECT 1") == 1
    await databases.close()
    assert databases.open_connections == 0


async def test_a_transaction_commits_at_the_end_and_a_failed_one_leaves_nothing(databases):
    await databases.control.execute("CREATE TABLE kept (n int)")
    try:
        async with databases.control.transaction() as connection:
            await connection.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with databases.control.transaction() as connection:
                await connection.execute("INSERT INTO kept VALUES (2)")
                raise ZeroDivisionError
        assert [row["n"] for row in await databases.control.fetch("SELECT n FROM kept")] == [1]
    finally:
        await databases.control.execute("DROP TABLE kept")


async def test_an_abandoned_query_gives_its_connection_back_clean(databases):
    query = asyncio.create_task(databases.control.fetchval("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.1)
    query.cancel()
    await asyncio.wait([query])
    assert await databases.control.fetchval("SELECT 1") == 1
    assert databases.open_connections <= 2


async def test_a_connection_that_the_server_ends_is_an_unavailable_error_and_the_next_call_works(databases, services):
    killer = await asyncpg.connect(services.database_url)
    with pytest.raises(UnavailableError):  # noqa: PT012
        async with databases.control.acquire() as connection:
            await killer.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetchval("SELECT 1")
    await killer.close()
    assert await databases.control.fetchval("SELECT 1") == 1
    assert databases.open_connections == 1


async def test_no_server_is_an_unavailable_error():
    databases = Databases("postgresql://nobody:x@127.0.0.1:1/none", 2)
    with pytest.raises(UnavailableError):
        await databases.control.fetchval("SELECT 1")
    assert databases.open_connections == 0


async def test_errors_of_the_block_itself_pass_unchanged(databases):
    with pytest.raises(FileNotFoundError):
        async with databases.control.acquire():
            raise FileNotFoundError
    with pytest.raises(asyncpg.UndefinedTableError):
        await databases.control.fetch("SELECT * FROM nothing_here")
