"""Every statement on provider_credentials (control database): the keys that tenants bring to their providers.

A key is sealed for its row: for this tenant, this provider and this base URL. Whoever can write to the database, but
has no encryption key, cannot give a tenant's key to another tenant, nor have it sent to another address.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from pydantic import SecretStr

from kit.crypto import KeyProvider, SealedError, key_id_of, open_sealed, rewrap, seal
from kit.errors import ConflictError
from kit.ids import uuid7
from kit.postgres import Databases

_COLUMNS = "id, user_id, provider, base_url, config, hint, created_at, updated_at, tested_at"
_INSERT = f"""
INSERT INTO provider_credentials (id, tenant_id, user_id, provider, base_url, config, sealed, hint, tested_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {_COLUMNS}
"""  # noqa: S608
_UPDATE = f"""
UPDATE provider_credentials
SET base_url = $3, config = $4, sealed = coalesce($5, sealed), hint = coalesce($6, hint), tested_at = $7,
    updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND ($5::bytea IS NOT NULL OR base_url IS NOT DISTINCT FROM $3)
RETURNING {_COLUMNS}
"""  # noqa: S608
_PAGE = """
SELECT c.id, c.tenant_id, t.slug, c.provider, c.base_url, c.sealed
FROM provider_credentials c JOIN tenants t ON t.id = c.tenant_id
WHERE c.id > $1 ORDER BY c.id LIMIT $2
"""
_PAGE_ROWS = 200
_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A row without its secret. hint: what may be shown of the key. tested_at: when the provider last accepted it."""

    id: UUID
    user_id: UUID
    provider: str
    base_url: str | None
    config: Mapping[str, Any]
    hint: str
    created_at: datetime
    updated_at: datetime
    tested_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What a caller stores. key: None to keep the one that is there (in an update), or to have none (in a new row)."""

    provider: str
    key: SecretStr | None
    base_url: str | None
    config: Mapping[str, Any]
    hint: str
    tested_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """How many rows were re-wrapped, and which could not be: (tenant, provider, reason)."""

    rewrapped: int
    failed: tuple[tuple[str, str, str], ...]


def sealing_context(tenant_id: UUID, provider: str, base_url: str | None) -> bytes:
    """What a key is bound to."""
    return f"provider_credentials\0{tenant_id}\0{provider}\0{base_url or ''}".encode()


class CredentialTable:
    """The rows of the tenants. A foreign id is as good as none."""

    def __init__(self, databases: Databases, keys: KeyProvider) -> None:
        self._databases = databases
        self._keys = keys

    async def all_of(self, tenant_id: UUID) -> list[StoredCredential]:
        """A tenant's rows, the oldest first."""
        statement = f"SELECT {_COLUMNS} FROM provider_credentials WHERE tenant_id = $1 ORDER BY id"  # noqa: S608
        return [_stored(row) for row in await self._databases.control.fetch(statement, tenant_id)]

    async def get(self, tenant_id: UUID, id: UUID) -> StoredCredential | None:
        """One row."""
        statement = f"SELECT {_COLUMNS} FROM provider_credentials WHERE tenant_id = $1 AND id = $2"  # noqa: S608
        row = await self._databases.control.fetchrow(statement, tenant_id, id)
        return None if row is None else _stored(row)

    async def key(self, tenant_id: UUID, id: UUID) -> SecretStr | None:
        """The key of a row; None where it has none. Raises SealedError."""
        statement = "SELECT provider, base_url, sealed FROM provider_credentials WHERE tenant_id = $1 AND id = $2"
        row = await self._databases.control.fetchrow(statement, tenant_id, id)
        return None if row is None else opened(row["sealed"], tenant_id, row["provider"], row["base_url"], self._keys)

    async def add(self, tenant_id: UUID, user_id: UUID, new: NewCredential) -> StoredCredential:
        """Insert. Raises ConflictError where the tenant has one for this provider."""
        values = (new.provider, new.base_url, orjson.dumps(new.config).decode())
        sealed = self._sealed(tenant_id, new, new.key or SecretStr(""))
        try:
            row = await self._databases.control.fetchrow(
                _INSERT, uuid7(), tenant_id, user_id, *values, sealed, new.hint, new.tested_at
            )
        except asyncpg.UniqueViolationError:
            raise already_there(new.provider) from None
        assert row is not None
        return _stored(row)

    async def replace(self, tenant_id: UUID, id: UUID, new: NewCredential) -> StoredCredential | None:
        """Update; None where there is no such row, or where the key is to be kept but is sealed for another address."""
        config = orjson.dumps(new.config).decode()
        sealed, hint = (None, None) if new.key is None else (self._sealed(tenant_id, new, new.key), new.hint)
        row = await self._databases.control.fetchrow(
            _UPDATE, tenant_id, id, new.base_url, config, sealed, hint, new.tested_at
        )
        return None if row is None else _stored(row)

    async def set_tested(self, tenant_id: UUID, id: UUID, tested_at: datetime | None) -> None:
        """Record when the provider last accepted the key; None: it does not any more."""
        await self._databases.control.execute(
            "UPDATE provider_credentials SET tested_at = $3 WHERE tenant_id = $1 AND id = $2", tenant_id, id, tested_at
        )

    async def delete(self, tenant_id: UUID, id: UUID) -> bool:
        """Delete; whether there was one."""
        statement = "DELETE FROM provider_credentials WHERE tenant_id = $1 AND id = $2"
        return await self._databases.control.execute(statement, tenant_id, id) == "DELETE 1"

    async def rewrap_all(self) -> Rotation:
        """Bring every row under the current key. Safe to interrupt, to repeat and to run while keys are used and
        changed; rows that do not open are left as they are."""
        rewrapped = 0
        while True:
            changes, failed = 0, []
            async for page in self._pages():
                stale, bad = self._stale(page)
                failed += bad
                async with self._databases.control.transaction() as connection:
                    for id, old, new in stale:
                        # A row that somebody changed meanwhile is not this one any more: the next round sees to it.
                        statement = "UPDATE provider_credentials SET sealed = $3 WHERE id = $1 AND sealed = $2"
                        changes += await connection.execute(statement, id, old, new) == "UPDATE 1"
            rewrapped += changes
            if not changes:
                return Rotation(rewrapped, tuple(failed))

    async def _pages(self) -> AsyncIterator[list[asyncpg.Record]]:
        last = _FIRST
        while page := await self._databases.control.fetch(_PAGE, last, _PAGE_ROWS):
            yield page
            last = page[-1]["id"]

    def _stale(self, page: list[asyncpg.Record]) -> tuple[list[tuple[UUID, bytes, bytes]], list[tuple[str, str, str]]]:
        """(id, old, new) of the rows that are not under the current key, and those that do not open."""
        current = self._keys.current().id
        stale, failed = [], []
        for row in page:
            context = sealing_context(row["tenant_id"], row["provider"], row["base_url"])
            try:
                if key_id_of(row["sealed"]) != current:
                    stale.append((row["id"], row["sealed"], rewrap(row["sealed"], context=context, keys=self._keys)))
            except SealedError as error:
                failed.append((row["slug"], row["provider"], error.message))
        return stale, failed

    def _sealed(self, tenant_id: UUID, new: NewCredential, key: SecretStr) -> bytes:
        context = sealing_context(tenant_id, new.provider, new.base_url)
        return seal(key.get_secret_value().encode(), context=context, keys=self._keys)


def already_there(provider: str) -> ConflictError:
    """The error for a second credential of a tenant for one provider."""
    return ConflictError(
        f"There is an integration with {provider} already: change or delete that one.",
        details={"provider": ["must be one that has no integration yet"]},
    )


def opened(sealed: bytes, tenant_id: UUID, provider: str, base_url: str | None, keys: KeyProvider) -> SecretStr | None:
    """The key in a row; None where it has none. Raises SealedError."""
    plaintext = open_sealed(sealed, context=sealing_context(tenant_id, provider, base_url), keys=keys)
    return SecretStr(plaintext.decode()) if plaintext else None


def _stored(row: asyncpg.Record) -> StoredCredential:
    columns = dict(row)
    return StoredCredential(**{**columns, "config": orjson.loads(columns["config"])})
