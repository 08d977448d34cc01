"""Two tenants' people, and ledger rows of a month that no other test uses."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from deployments.provider_caller.money.rows import LedgerRow, waiting
from deployments.provider_caller.money.store import LedgerStore
from kit.ids import uuid7
from serve_app.auth import keys
from serve_app.tenants.repository import TenantRepository


@dataclass
class Person:
    """A user with an API key, and a client that sends it."""

    tenant: str
    user_id: UUID
    key_id: UUID
    client: httpx.AsyncClient


async def person(api: Any, *, role: str, tenant: str = "default") -> Person:
    key = keys.generate()
    async with api.databases.control.transaction() as connection:
        repository = TenantRepository(connection)
        owner = await repository.ensure_tenant(tenant, tenant.title(), f"penstock_t_{tenant}")
        await connection.execute("UPDATE tenants SET state = 'active' WHERE id = $1", owner.id)
        user_id = await repository.ensure_user(owner.id, f"{uuid7().hex}@example.com", role)
        await repository.add_key(owner.id, user_id, "test", key.prefix, key.hash)
        key_id = await connection.fetchval("SELECT id FROM api_keys WHERE user_id = $1", user_id)
    client = httpx.AsyncClient(base_url=api.url, headers={"authorization": f"Bearer {key.plaintext}"}, timeout=20)
    return Person(tenant, user_id, key_id, client)


@pytest.fixture(scope="session")
async def member(session_api: Any) -> AsyncIterator[Person]:
    """Of the default tenant, no administrator."""
    found = await person(session_api, role="user")
    yield found
    await found.client.aclose()


@pytest.fixture(scope="session")
async def stranger(session_api: Any) -> AsyncIterator[Person]:
    """An administrator of another tenant, which has no database of its own."""
    found = await person(session_api, role="admin", tenant="elsewhere")
    yield found
    await found.client.aclose()


@pytest.fixture(autouse=True)
async def no_rules(api: Any) -> None:
    for table in ("budgets", "rate_limits"):
        await api.databases.control.execute(f"DELETE FROM {table}")
    await api.databases.pool("penstock_t_default").execute("DELETE FROM usage_ledger WHERE started_at > '2031-01-01'")


@pytest.fixture
def write_row(api: Any) -> Any:
    """Writes a ledger row of the default tenant."""

    async def write(**of: Any) -> UUID:
        values: dict[str, Any] = {
            "tenant": "default",
            "id": uuid7(),
            "request_id": f"req_{uuid7().hex}",
            "attempt": 1,
            "started_at": datetime(2031, 3, 5, 12, tzinfo=UTC),
            "user_id": "u1",
            "key_id": "k1",
            "agent_id": None,
            "dialect": "openai_chat",
            "provider": "mock",
            "model": "echo",
            "credential": "operator",
            "operation": "chat",
            "reason": "named",
            "experiment": None,
            "arm": None,
            "streamed": False,
            "outcome": "ok",
            "error_code": None,
            "input_tokens": 100,
            "output_tokens": 10,
            "cached_tokens": 40,
            "cache_write_tokens": 0,
            "estimated": False,
            "cost_nano": 2_500,
            "latency_ms": 100.0,
            "first_token_ms": None,
        }
        row = waiting(LedgerRow(**{**values, **of}), None)
        await LedgerStore(api.databases).append("default", [row])
        return row.id

    return write
