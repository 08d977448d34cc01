import asyncpg

from kit.postgres import Databases
from serve_app.tenants.service import identify


async def test_the_first_start_gives_a_tenant_with_a_database_and_a_key_that_works(services):
    databases = Databases(services.database_url, 2)
    owner = await identify(databases.control, services.api_key)
    assert (owner.tenant_slug, owner.role, owner.database_name) == ("default", "admin", services.tenant_database)
    connection = await asyncpg.connect(services.tenant_database_url)
    assert await connection.fetchval("SELECT count(*) FROM chunks") == 0
    await connection.close()
    await databases.close()
