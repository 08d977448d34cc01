"""Tenants' keys: stored sealed, opened for their tenant only, rotated while they are used."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from deployments.provider_caller import credentials
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.credential_table import CredentialTable, NewCredential
from deployments.provider_caller.credentials import Credentials
from deployments.provider_caller.reach import Reach, no_models
from deployments.provider_caller.resilience.targets import OPERATOR
from kit.crypto import EncryptionKey, EnvironmentKeys, FileKeys, TamperedError, key_id_of
from kit.errors import ConflictError, UnavailableError
from kit.ids import uuid7
from kit.postgres import Databases

KEY = "sk-tenant-secret-4711"


@dataclass(frozen=True)
class Tenant:
    id: UUID
    slug: str


@dataclass
class World:
    """The table and its snapshot, with keys of the test's own."""

    databases: Databases
    keys: FileKeys
    table: CredentialTable
    credentials: Credentials
    tenant: Tenant
    other: Tenant

    async def add(self, tenant: Tenant | None = None, key: str = KEY, **fields: Any) -> UUID:
        stored = await self.table.add((tenant or self.tenant).id, uuid7(), credential(key, **fields))
        return stored.id

    async def sealed(self, id: UUID) -> bytes:
        found = await self.databases.control.fetchval("SELECT sealed FROM provider_credentials WHERE id = $1", id)
        assert isinstance(found, bytes)
        return found

    async def set(self, id: UUID, column: str, value: object) -> None:
        await self.databases.control.execute(f"UPDATE provider_credentials SET {column} = $2 WHERE id = $1", id, value)


def credential(key: str | None = KEY, **fields: Any) -> NewCredential:
    values = {"provider": "openai", "base_url": None, "config": {}, "hint": "sk-…4711", "tested_at": None} | fields
    return NewCredential(key=None if key is None else SecretStr(key), **values)


@pytest.fixture
async def world(services: Any, tmp_path: Path) -> AsyncIterator[World]:
    databases = Databases(services.database_url, 6)
    tenants = [Tenant(uuid7(), f"t-{uuid7().hex}") for _ in range(2)]
    for tenant in tenants:
        await databases.control.execute(
            "INSERT INTO tenants (id, slug, name, database_name, state) VALUES ($1, $2, $2, $2, 'active')",
            *(tenant.id, tenant.slug),
        )
    keys = FileKeys(tmp_path / "keys")
    credentials = Credentials(databases, keys, every=60)
    await credentials.start()
    yield World(databases, keys, CredentialTable(databases, keys), credentials, *tenants)
    await credentials.close()
    await databases.control.execute("DELETE FROM tenants WHERE id = ANY($1)", [tenant.id for tenant in tenants])
    await databases.close()


async def test_a_stored_key_opens_for_its_tenant_and_provider_only(world: World) -> None:
    await world.add(base_url="https://llm.example.com/v1", provider="compatible", config={"models": ["m"]})
    await world.credentials.refresh()
    found = world.credentials.for_tenant(world.tenant.slug, "compatible")
    assert found is not None
    assert found.key is not None
    assert found.key.get_secret_value() == KEY
    assert (found.base_url, found.config) == ("https://llm.example.com/v1", {"models": ["m"]})
    assert world.credentials.for_tenant(world.tenant.slug, "openai") is None
    assert world.credentials.for_tenant(world.other.slug, "compatible") is None
    assert world.credentials.providers_of(world.tenant.slug) == {"compatible"}
    assert world.credentials.providers_of(world.other.slug) == frozenset()
    assert KEY not in repr(found)


async def test_changes_and_deletions_reach_the_snapshot(world: World) -> None:
    id = await world.add()
    await world.credentials.refresh()
    await world.table.replace(world.tenant.id, id, credential("sk-the-next-key"))
    assert await world.credentials.refresh()
    found = world.credentials.for_tenant(world.tenant.slug, "openai")
    assert found is not None
    assert found.key == SecretStr("sk-the-next-key")
    assert await world.table.delete(world.tenant.id, id)
    await world.credentials.refresh()
    assert world.credentials.for_tenant(world.tenant.slug, "openai") is None


async def test_a_credential_without_a_key_is_one_all_the_same(world: World) -> None:
    await world.table.add(world.tenant.id, uuid7(), credential(None, provider="compatible", hint=""))
    await world.credentials.refresh()
    found = world.credentials.for_tenant(world.tenant.slug, "compatible")
    assert found is not None
    assert found.key is None


async def test_the_table_holds_no_key_in_plaintext(world: World) -> None:
    id = await world.add()
    row = await world.databases.control.fetchrow("SELECT * FROM provider_credentials WHERE id = $1", id)
    assert KEY not in repr(row)
    assert KEY.encode() not in await world.sealed(id)


@pytest.mark.parametrize("column", ["tenant_id", "provider", "base_url"])
async def test_a_row_that_was_moved_to_another_tenant_provider_or_address_does_not_open(
    world: World, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who can write to the database gets nobody's key sent anywhere."""
    monkeypatch.setattr(credentials, "_log", structlog.get_logger())
    id = await world.add()
    values = {"tenant_id": world.other.id, "provider": "groq", "base_url": "https://attacker.example.com/v1"}
    await world.set(id, column, values[column])
    with structlog.testing.capture_logs() as logs:
        await world.credentials.refresh()
    moved = world.other if column == "tenant_id" else world.tenant
    provider = "groq" if column == "provider" else "openai"
    assert world.credentials.for_tenant(moved.slug, provider) is None
    assert world.credentials.providers_of(moved.slug) == frozenset()
    assert world.credentials.why_closed(moved.slug, provider) is not None
    assert [(log["tenant"], log["provider"]) for log in logs if log["log_level"] == "error"] == [(moved.slug, provider)]
    assert KEY not in repr(logs)


async def test_sealed_bytes_that_were_copied_to_another_tenants_row_do_not_open(world: World) -> None:
    mine, others = await world.add(), await world.add(world.other, "sk-of-the-other")
    await world.set(others, "sealed", await world.sealed(mine))
    await world.credentials.refresh()
    assert world.credentials.for_tenant(world.tenant.slug, "openai") is not None
    assert world.credentials.for_tenant(world.other.slug, "openai") is None
    with pytest.raises(TamperedError):
        await world.table.key(world.other.id, others)


async def test_a_key_whose_encryption_key_is_gone_is_absent_and_the_others_are_not(world: World) -> None:
    elsewhere = CredentialTable(world.databases, EnvironmentKeys(SecretStr(b64encode(b"x" * 32).decode())))
    await elsewhere.add(world.tenant.id, uuid7(), credential())
    await world.add(world.other)
    await world.credentials.refresh()
    reason = world.credentials.why_closed(world.tenant.slug, "openai")
    assert reason is not None
    assert EncryptionKey(b"x" * 32).id in reason
    assert world.credentials.for_tenant(world.other.slug, "openai") is not None
    assert world.credentials.why_closed(world.other.slug, "openai") is None


async def test_what_did_not_change_is_not_opened_again(world: World) -> None:
    await world.add()
    await world.credentials.refresh()
    before = world.credentials.for_tenant(world.tenant.slug, "openai")
    await world.add(provider="groq", key="")
    await world.credentials.refresh()
    assert world.credentials.for_tenant(world.tenant.slug, "openai") is before


async def test_a_tenant_has_one_key_for_a_provider(world: World) -> None:
    await world.add()
    with pytest.raises(ConflictError) as refused:
        await world.add()
    assert list(refused.value.details) == ["provider"]


async def test_a_foreign_row_can_be_neither_read_nor_changed_nor_deleted(world: World) -> None:
    id = await world.add()
    assert await world.table.get(world.other.id, id) is None
    assert await world.table.key(world.other.id, id) is None
    assert await world.table.replace(world.other.id, id, credential("sk-of-the-other")) is None
    assert not await world.table.delete(world.other.id, id)
    assert await world.table.key(world.tenant.id, id) == SecretStr(KEY)


async def test_a_key_that_is_kept_stays_at_its_address(world: World) -> None:
    id = await world.add(base_url="https://a.example.com/v1")
    assert await world.table.replace(world.tenant.id, id, credential(None, base_url="https://b.example.com")) is None
    kept = await world.table.replace(world.tenant.id, id, credential(None, base_url="https://a.example.com/v1"))
    assert kept is not None
    assert await world.table.key(world.tenant.id, id) == SecretStr(KEY)


async def test_rotation_leaves_no_row_under_an_old_key_and_every_key_as_it_was(world: World) -> None:
    ids = [await world.add(key=f"sk-{provider}", provider=provider) for provider in ("openai", "groq", "anthropic")]
    old = key_id_of(await world.sealed(ids[0]))
    updated_at = (await world.table.all_of(world.tenant.id))[0].updated_at
    new = world.keys.add()
    assert (await world.table.rewrap_all()).rewrapped == 3
    assert {key_id_of(await world.sealed(id)) for id in ids} == {new.id} != {old}
    await world.credentials.refresh()
    for provider in ("openai", "groq", "anthropic"):
        found = world.credentials.for_tenant(world.tenant.slug, provider)
        assert found is not None
        assert found.key == SecretStr(f"sk-{provider}")
    assert (await world.table.all_of(world.tenant.id))[0].updated_at == updated_at
    assert (await world.table.rewrap_all()).rewrapped == 0, "a rotation that is done changes nothing"


async def test_a_rotation_that_was_interrupted_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.provider_caller.credential_table._PAGE_ROWS", 1)
    ids = [await world.add(provider=provider) for provider in ("openai", "groq", "anthropic")]
    new = world.keys.add()
    get, asked = world.keys.get, 0

    def dies_at_the_second(key_id: str) -> EncryptionKey:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError
        return get(key_id)

    # Rows of other tests are under keys that this one lacks, and do not count.
    monkeypatch.setattr(world.keys, "get", lambda id: dies_at_the_second(id) if id in world.keys._keys else get(id))
    with pytest.raises(RuntimeError):
        await world.table.rewrap_all()
    assert [key_id_of(await world.sealed(id)) == new.id for id in ids] == [True, False, False]
    monkeypatch.undo()
    assert (await world.table.rewrap_all()).rewrapped == 2


async def test_rows_that_do_not_open_are_reported_and_left(world: World) -> None:
    id = await world.add()
    await world.set(id, "tenant_id", world.other.id)
    sealed = await world.sealed(id)
    world.keys.add()
    rotation = await world.table.rewrap_all()
    assert [(tenant, provider) for tenant, provider, _ in rotation.failed if tenant == world.other.slug] == [
        (world.other.slug, "openai")
    ]
    assert await world.sealed(id) == sealed


async def test_a_key_that_is_changed_while_its_row_is_rewrapped_stays_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await world.add()
    pages, changes = world.table._pages, [credential("sk-changed-meanwhile")]

    async def with_a_change() -> AsyncIterator[list[Any]]:
        async for page in pages():
            while changes:
                await world.table.replace(world.tenant.id, id, changes.pop())
            yield page

    monkeypatch.setattr(world.table, "_pages", with_a_change)
    world.keys.add()
    await world.table.rewrap_all()
    assert await world.table.key(world.tenant.id, id) == SecretStr("sk-changed-meanwhile")


async def test_keys_are_used_and_changed_while_they_are_rotated(world: World) -> None:
    """Readers never find a key closed or wrong, and no change is lost."""
    id = await world.add(key="sk-0")
    written, done = ["sk-0"], False

    async def use() -> None:
        while not done:
            await world.credentials.refresh()
            found = world.credentials.for_tenant(world.tenant.slug, "openai")
            assert found is not None
            assert found.key is not None
            assert found.key.get_secret_value() in written
            await asyncio.sleep(0)

    async def change() -> None:
        for number in range(1, 15):
            written.append(f"sk-{number}")
            assert await world.table.replace(world.tenant.id, id, credential(written[-1]))
            await asyncio.sleep(0.005)

    await world.credentials.refresh()
    async with asyncio.TaskGroup() as group:
        group.create_task(use())
        changes = group.create_task(change())
        for _ in range(5):
            world.keys.add()
            await world.table.rewrap_all()
        await changes
        await world.table.rewrap_all()
        done = True
    assert await world.table.key(world.tenant.id, id) == SecretStr("sk-14")
    assert key_id_of(await world.sealed(id)) == world.keys.current().id


async def test_until_it_is_known_who_has_keys_nobody_is_called_with_the_operators(world: World) -> None:
    """As in a replica that starts while Postgres is lost."""
    await world.add()
    credentials = Credentials(world.databases, world.keys)
    unused: Any = None
    catalogue = Catalogue(ProviderCallerConfig())
    reach = Reach(catalogue, unused, unused, credentials=credentials, model_of=no_models, probe_timeout=1)
    with pytest.raises(UnavailableError, match="not known yet"):
        reach.target(world.tenant.slug, "openai", "gpt-4o")
    await credentials.refresh()
    assert reach.target(world.tenant.slug, "openai", "gpt-4o").owner == world.tenant.slug
    assert reach.target(world.other.slug, "openai", "gpt-4o").owner == OPERATOR
