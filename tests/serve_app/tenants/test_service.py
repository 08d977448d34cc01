import asyncio
import stat
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from kit.postgres import Databases, database_url
from serve_app.auth import keys
from serve_app.tenants.migrate import create_database, migrate, newest_version
from serve_app.tenants.repository import TenantRepository
from serve_app.tenants.service import ensure_platform


async def identify(control, plaintext):
    """Whose key this is; None where it opens nothing."""
    async with control.acquire() as connection:
        return await TenantRepository(connection).key_owner(keys.key_hash(plaintext))


@pytest.fixture
async def control_url(services):
    """A control database that does not exist yet. Its tenants' databases are those of the shared server."""
    url = database_url(services.database_url, f"control_{uuid4().hex[:12]}")
    yield url
    connection = await asyncpg.connect(services.database_url)
    await connection.execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')
    await connection.close()


@pytest.fixture
async def control(control_url):
    databases = Databases(control_url, 2)
    yield databases.control
    await databases.close()


async def test_the_first_start_gives_a_tenant_with_a_database_and_a_key_that_works(services):
    databases = Databases(services.database_url, 2)
    owner = await identify(databases.control, services.api_key)
    assert (owner.tenant_slug, owner.role, owner.database_name) == ("default", "admin", services.tenant_database)
    assert await databases.pool(services.tenant_database).fetchval("SELECT count(*) FROM chunks") is not None
    await databases.close()


async def test_another_start_changes_nothing(control_url, tmp_path):
    first = await ensure_platform(control_url, tmp_path / "key")
    again = await ensure_platform(control_url, tmp_path / "key")
    assert (first.key_is_new, again.key_is_new) == (True, False)
    assert (again.tenant, again.api_key) == (first.tenant, first.api_key)
    assert first.tenant.schema_version == newest_version("tenant")


async def test_the_key_itself_is_in_a_private_file_and_not_in_postgres(control_url, control, tmp_path):
    platform = await ensure_platform(control_url, tmp_path / "key")
    assert (tmp_path / "key").read_text().strip() == platform.api_key
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    rows = await control.fetch("SELECT k::text AS row FROM api_keys k")
    assert len(rows) == 1
    assert platform.api_key[12:] not in rows[0]["row"]
    assert platform.api_key not in repr(platform)


@pytest.mark.parametrize("kept", [None, "", "not a key"])
async def test_a_lost_key_file_gives_a_new_key_and_revokes_the_old_one(control_url, control, tmp_path, kept):
    file = tmp_path / "key"
    old = await ensure_platform(control_url, file)
    file.unlink() if kept is None else file.write_text(kept)
    new = await ensure_platform(control_url, file)
    assert new.key_is_new
    assert (await identify(control, new.api_key)).tenant_slug == "default"
    assert await identify(control, old.api_key) is None


async def test_expired_keys_and_keys_of_suspended_tenants_are_refused(control_url, control, tmp_path):
    platform = await ensure_platform(control_url, tmp_path / "key")
    await control.execute("UPDATE tenants SET state = 'suspended'")
    assert await identify(control, platform.api_key) is None
    await control.execute("UPDATE tenants SET state = 'active'")
    await control.execute("UPDATE api_keys SET expires_at = now() - interval '1 s'")
    assert await identify(control, platform.api_key) is None


async def test_one_tenants_failure_is_reported_and_the_others_go_on(control_url, control, tmp_path):
    await ensure_platform(control_url, tmp_path / "key")
    broken = f"penstock_t_broken_{uuid4().hex[:8]}"
    async with control.acquire() as connection:
        repository = TenantRepository(connection)
        await repository.ensure_tenant("broken", "Broken", broken)
        await repository.ensure_tenant("later", "Later", f"{broken}_later")
    await create_database(database_url(control_url, broken))
    connection = await asyncpg.connect(database_url(control_url, broken))
    await connection.execute("CREATE TABLE documents (in_the_way int)")
    await connection.close()
    try:
        platform = await ensure_platform(control_url, tmp_path / "key")
        assert list(platform.failed) == ["broken"]
        assert "documents" in platform.failed["broken"]
        versions = {row["slug"]: row["schema_version"] for row in await control.fetch("SELECT * FROM tenants")}
        assert versions == {"default": newest_version("tenant"), "broken": None, "later": newest_version("tenant")}
    finally:
        await control.execute(f'DROP DATABASE "{broken}"')
        await control.execute(f'DROP DATABASE IF EXISTS "{broken}_later"')


async def test_two_migrators_at_once_do_not_disturb_each_other(control_url):
    created = await asyncio.gather(create_database(control_url), create_database(control_url))
    assert sum(created) == 1
    versions = await asyncio.gather(*(migrate(control_url, "control") for _ in range(3)))
    assert set(versions) == {newest_version("control")}
