"""Every SQL statement that writes the usage ledger. A row is written exactly once: its id is the primary key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal
from uuid import UUID

import asyncpg
import structlog

from deployments.provider_caller.money.rows import COLUMNS, LOST, Waiting, cleaned
from deployments.retriever.store import tenant_database
from kit.errors import UnavailableError
from kit.postgres import Connection, Databases
from kit.telemetry import METRICS

TABLE = "usage_ledger"
DROPPED = "penstock_ledger_rows_dropped_total"
WRITE_SECONDS = 10.0

Fate = Literal["new", "replaced", "known", "refused"]
"""Of a row that was to be written: it is new, took the place of a `lost` one, was there, or cannot be written."""

NEVER = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.InvalidCatalogNameError,
    ValueError,
    TypeError,
    OverflowError,
)
"""What says that a row cannot be written at all: its values, or a tenant that is gone."""

_log = structlog.get_logger("penstock.money")

_CREATE = f"CREATE TEMP TABLE incoming (LIKE {TABLE} INCLUDING DEFAULTS) ON COMMIT DROP"
_UPDATES = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS if name not in ("id", "reserved_nano"))
# The constants are this module's and rows.py's own.
_MERGE = f"""
INSERT INTO {TABLE} ({", ".join(COLUMNS)}) SELECT {", ".join(COLUMNS)} FROM incoming
ON CONFLICT (id) DO UPDATE SET {_UPDATES}
WHERE {TABLE}.outcome = '{LOST}' AND EXCLUDED.outcome <> '{LOST}'
RETURNING id, xmax = 0 AS is_new
"""  # noqa: S608
_KNOWN = f"SELECT id, coalesce(cost_nano, reserved_nano, 0) AS charge FROM {TABLE} WHERE id = ANY($1::uuid[])"  # noqa: S608


class LedgerStore:
    """The ledgers of all tenants. Methods raise UnavailableError when Postgres is lost or does not take rows now."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def append(self, tenant: str, rows: Sequence[Waiting]) -> None:
        """Write rows that cannot be there yet, by COPY; all or none. Raises one of NEVER where a row is to blame."""
        async with _patient(), self._databases.pool(tenant_database(tenant)).acquire() as connection:
            await _copy(connection, TABLE, rows)

    async def merge(self, tenant: str, rows: Sequence[Waiting]) -> dict[UUID, Fate]:
        """Write rows of which some may be there already; the fate of each. A `lost` row gives way to a real one."""
        try:
            return await self._merge(tenant, rows)
        except asyncpg.InvalidCatalogNameError as error:
            return {row.id: _refused(row, error) for row in rows}
        except NEVER:
            return await self._merge_singly(tenant, rows)

    async def _merge(self, tenant: str, rows: Iterable[Waiting]) -> dict[UUID, Fate]:
        by_id = {row.id: row for row in rows}
        async with _patient(), self._databases.pool(tenant_database(tenant)).transaction() as connection:
            await connection.execute(_CREATE)
            await _copy(connection, "incoming", list(by_id.values()))
            written = await connection.fetch(_MERGE)
        fates: dict[UUID, Fate] = dict.fromkeys(by_id, "known")
        for row in written:
            fates[row["id"]] = "new" if row["is_new"] else "replaced"
        return fates

    async def _merge_singly(self, tenant: str, rows: Sequence[Waiting]) -> dict[UUID, Fate]:
        """One of these rows cannot be written: find it, so that the others can."""
        fates: dict[UUID, Fate] = {}
        for row in rows:
            try:
                fates |= await self._merge(tenant, [cleaned(row)])
            except NEVER as error:
                fates[row.id] = _refused(row, error)
        return fates

    async def charges(self, tenant: str, ids: Sequence[UUID]) -> dict[UUID, int]:
        """What budgets are charged for those of these rows that exist; nano-dollars."""
        async with _patient():
            rows = await self._databases.pool(tenant_database(tenant)).fetch(_KNOWN, list(ids))
        return {row["id"]: row["charge"] for row in rows}


def _refused(row: Waiting, error: Exception) -> Fate:
    METRICS.count(DROPPED, tenant=row.row.tenant)
    _log.error("ledger row cannot be written", tenant=row.row.tenant, id=str(row.id), reason=type(error).__name__)
    return "refused"


@contextlib.asynccontextmanager
async def _patient() -> AsyncIterator[None]:
    """Turns a Postgres that hangs, is full or is not ready into one that is lost: rows then wait."""
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            yield
    except NEVER:
        raise
    except (TimeoutError, asyncpg.PostgresError) as error:
        raise UnavailableError("The ledger cannot be written now.", retry_after=1) from error


async def _copy(connection: Connection, table: str, rows: Sequence[Waiting]) -> None:
    await connection.copy_records_to_table(table, records=[row.values for row in rows], columns=COLUMNS)
