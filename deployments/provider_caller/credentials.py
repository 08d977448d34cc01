"""The keys that tenants bring to their providers, opened and at hand in every process that calls or chooses providers.

A key that does not open is logged and counts as absent, and `why_closed` says so: whoever finds it closed should
refuse the call rather than take the operator's key, for which the tenant did not ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import structlog
from pydantic import SecretStr

from deployments.provider_caller.credential_table import opened
from deployments.snapshots import REFRESH_EVERY, Snapshot
from kit.crypto import KeyProvider
from kit.errors import PenstockError
from kit.postgres import Databases

_ROWS = """
SELECT t.slug, c.tenant_id, c.provider, c.base_url, c.config, c.sealed
FROM provider_credentials c JOIN tenants t ON t.id = c.tenant_id
"""
_log = structlog.get_logger("penstock.credentials")


@dataclass(frozen=True, slots=True)
class Credential:
    """A tenant's access to a provider. base_url: None for the provider's own. key: None for a server without keys."""

    provider: str
    key: SecretStr | None
    base_url: str | None
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Closed:
    """A row that does not open, and why."""

    reason: str


_Entry = Credential | _Closed
_Identity = tuple[object, ...]
"""All columns of a row: what has not changed is not opened again."""


class Credentials:
    """All tenants' keys, as of two seconds ago at most. One instance per process."""

    def __init__(self, databases: Databases, keys: KeyProvider, *, every: float = REFRESH_EVERY) -> None:
        self._keys = keys
        self._opened: dict[_Identity, Credential] = {}
        empty: Mapping[str, Mapping[str, _Entry]] = {}
        self._snapshot = Snapshot(databases, "credentials", self._load, empty=empty, every=every)

    async def start(self) -> None:
        """Load, and go on looking for changes."""
        await self._snapshot.start()

    async def close(self) -> None:
        """Stop looking."""
        await self._snapshot.close()

    @property
    def loaded(self) -> bool:
        """Whether anything is known; until then nobody can say whose key a call must take."""
        return self._snapshot.loaded

    async def refresh(self) -> bool:
        """Load if something has changed; whether it had. Raises UnavailableError."""
        return await self._snapshot.refresh()

    def for_tenant(self, tenant: str, provider: str) -> Credential | None:
        """The tenant's own access to a provider; None where it has none that opens. tenant: the slug."""
        entry = self._snapshot.value.get(tenant, {}).get(provider)
        return entry if isinstance(entry, Credential) else None

    def why_closed(self, tenant: str, provider: str) -> str | None:
        """Why a key that the tenant has stored cannot be used; None where it can, or where there is none."""
        entry = self._snapshot.value.get(tenant, {}).get(provider)
        return entry.reason if isinstance(entry, _Closed) else None

    def providers_of(self, tenant: str) -> frozenset[str]:
        """The providers that the tenant has access of its own to."""
        entries = self._snapshot.value.get(tenant, {})
        return frozenset(provider for provider, entry in entries.items() if isinstance(entry, Credential))

    async def _load(self, databases: Databases) -> Mapping[str, Mapping[str, _Entry]]:
        known, self._opened = self._opened, {}
        tenants: dict[str, dict[str, _Entry]] = {}
        for row in await databases.control.fetch(_ROWS):
            identity = tuple(row)
            entry = known.get(identity) or self._open(row)
            if isinstance(entry, Credential):
                self._opened[identity] = entry
            tenants.setdefault(row["slug"], {})[row["provider"]] = entry
        return tenants

    def _open(self, row: asyncpg.Record) -> _Entry:
        try:
            key = opened(row["sealed"], row["tenant_id"], row["provider"], row["base_url"], self._keys)
        except PenstockError as error:
            _log.error("key does not open", tenant=row["slug"], provider=row["provider"], reason=error.message)
            return _Closed(error.message)
        return Credential(row["provider"], key, row["base_url"], orjson.loads(row["config"]))
