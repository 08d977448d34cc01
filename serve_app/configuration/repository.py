"""SQL of what tenants set (control database). The router reads the same tables: `deployments.router.tenants`."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from deployments.router.tenants import Failover, TenantModel, TenantRouting
from kit.postgres import Connection, Databases


@dataclass(slots=True)
class Stored:
    """One tenant's."""

    failover: Failover
    routing: TenantRouting
    models: Sequence[TenantModel]


class ConfigRepository:
    """Settings, rules and registered models of tenants; each method reads and writes one tenant's only."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def read(self, tenant_id: UUID) -> Stored:
        """What a tenant has set."""
        async with self._databases.control.transaction() as connection:
            return await _read(connection, tenant_id)

    @contextlib.asynccontextmanager
    async def changing(self, tenant_id: UUID) -> AsyncIterator[Stored]:
        """What a tenant has set, to be changed in the block and written at its end; one change at a time."""
        async with self._databases.control.transaction() as connection:
            await connection.execute(
                "INSERT INTO tenant_settings (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING", tenant_id
            )
            await connection.execute("SELECT FROM tenant_settings WHERE tenant_id = $1 FOR UPDATE", tenant_id)
            stored = await _read(connection, tenant_id)
            yield stored
            await _write(connection, tenant_id, stored)


async def _read(connection: Connection, tenant_id: UUID) -> Stored:
    row = await connection.fetchrow("SELECT failover, routing FROM tenant_settings WHERE tenant_id = $1", tenant_id)
    models = await connection.fetch(
        "SELECT provider, model, operation, context_window, input_price, output_price FROM tenant_models"
        " WHERE tenant_id = $1 ORDER BY created_at, provider, model",
        tenant_id,
    )
    return Stored(
        failover=row["failover"] if row is not None else "automatic",
        routing=TenantRouting.model_validate_json(row["routing"]) if row is not None else TenantRouting(),
        models=[TenantModel(**dict(model)) for model in models],
    )


async def _write(connection: Connection, tenant_id: UUID, stored: Stored) -> None:
    await connection.execute(
        "UPDATE tenant_settings SET failover = $2, routing = $3, updated_at = now() WHERE tenant_id = $1",
        *(tenant_id, stored.failover, stored.routing.model_dump_json(exclude_defaults=True)),
    )
    await connection.execute("DELETE FROM tenant_models WHERE tenant_id = $1", tenant_id)
    await connection.executemany(
        "INSERT INTO tenant_models"
        " (tenant_id, provider, model, operation, context_window, input_price, output_price, created_at)"
        # In their order, which is the order in which they are tried.
        " VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 microsecond')",
        [
            (tenant_id, m.provider, m.model, m.operation, m.context_window, m.input_price, m.output_price, number)
            for number, m in enumerate(stored.models)
        ],
    )
