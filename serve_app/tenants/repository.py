"""Every statement on tenants, users and API keys (control database)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kit.ids import uuid7
from kit.postgres import Connection


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer with a database of its own. state: `active`; schema_version: None before the first migration."""

    id: UUID
    slug: str
    name: str
    database_name: str
    state: str
    schema_version: str | None


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Who holds a valid API key. role: of the user; expires_at: of the key."""

    key_id: UUID
    tenant_id: UUID
    tenant_slug: str
    database_name: str
    user_id: UUID
    role: str
    expires_at: datetime | None


class TenantRepository:
    """On one connection to the control database; the caller owns the transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def tenants(self) -> list[Tenant]:
        """All tenants, the oldest first."""
        rows = await self.connection.fetch(
            "SELECT id, slug, name, database_name, state, schema_version FROM tenants ORDER BY created_at, id"
        )
        return [_tenant(row) for row in rows]

    async def ensure_tenant(self, slug: str, name: str, database_name: str) -> Tenant:
        """The tenant with this slug, created if there is none."""
        await self.connection.execute(
            "INSERT INTO tenants (id, slug, name, database_name, state) VALUES ($1, $2, $3, $4, 'active')"
            " ON CONFLICT (slug) DO NOTHING",
            *(uuid7(), slug, name, database_name),
        )
        row = await self.connection.fetchrow(
            "SELECT id, slug, name, database_name, state, schema_version FROM tenants WHERE slug = $1", slug
        )
        if row is None:
            raise LookupError(slug)
        return _tenant(row)

    async def set_schema_version(self, tenant_id: UUID, version: str) -> None:
        """Record to which version a tenant's database was brought."""
        await self.connection.execute("UPDATE tenants SET schema_version = $2 WHERE id = $1", tenant_id, version)

    async def ensure_user(self, tenant_id: UUID, email: str, role: str) -> UUID:
        """The user with this address, created if there is none; an existing one keeps its role."""
        await self.connection.execute(
            "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (tenant_id, email) DO NOTHING",
            *(uuid7(), tenant_id, email, role),
        )
        return UUID(
            str(
                await self.connection.fetchval(
                    "SELECT id FROM users WHERE tenant_id = $1 AND email = $2", tenant_id, email
                )
            )
        )

    async def add_key(self, tenant_id: UUID, user_id: UUID, name: str, prefix: str, key_hash: bytes) -> UUID:
        """Store a key's hash."""
        key_id = uuid7()
        await self.connection.execute(
            "INSERT INTO api_keys (id, tenant_id, user_id, name, prefix, key_hash) VALUES ($1, $2, $3, $4, $5, $6)",
            *(key_id, tenant_id, user_id, name, prefix, key_hash),
        )
        return key_id

    async def revoke_keys_named(self, user_id: UUID, name: str) -> int:
        """Revoke a user's valid keys of this name; how many there were."""
        status = await self.connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE user_id = $1 AND name = $2 AND revoked_at IS NULL",
            *(user_id, name),
        )
        return int(status.split()[-1])

    async def key_owner(self, key_hash: bytes) -> KeyOwner | None:
        """Who holds this key; None when it is unknown, revoked, expired or its tenant is not active."""
        row = await self.connection.fetchrow(
            "SELECT k.id AS key_id, t.id AS tenant_id, t.slug AS tenant_slug, t.database_name, u.id AS user_id,"
            " u.role, k.expires_at"
            " FROM api_keys k JOIN users u ON u.id = k.user_id JOIN tenants t ON t.id = k.tenant_id"
            " WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
            " AND t.state = 'active'",
            key_hash,
        )
        return KeyOwner(**dict(row)) if row is not None else None


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(**dict(row))
