"""SQL of budgets and limits, and the SQL that reads the usage ledger. The provider caller writes the ledger."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from deployments.provider_caller.money.rows import COLUMNS
from deployments.retriever.store import tenant_database
from kit.errors import ConflictError
from kit.ids import uuid7
from kit.postgres import Database, Databases
from serve_app.usage.schemas import Group, UsageQuery

_TERMS = {
    "budgets": ("amount_nano", "period", "mode"),
    "rate_limits": ("requests_per_minute", "tokens_per_minute", "concurrency"),
}
_EXISTS = {
    "user": "SELECT EXISTS (SELECT FROM users WHERE tenant_id = $1 AND id = $2)",
    "key": "SELECT EXISTS (SELECT FROM api_keys WHERE tenant_id = $1 AND id = $2)",
}
_GROUPS: dict[Group, str] = {
    "day": "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "model": "model",
    "provider": "provider",
    "user": "user_id",
    "key": "key_id",
    "agent": "coalesce(agent_id, '')",
    "operation": "operation",
    "outcome": "outcome",
}
_SUMS = """
count(*) AS calls,
coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
coalesce(sum(cached_tokens), 0)::bigint AS cached_tokens,
coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
coalesce(sum(cost_nano), 0)::bigint AS cost_nano,
count(*) FILTER (WHERE cost_nano IS NULL) AS unpriced_calls,
count(*) FILTER (WHERE estimated) AS estimated_calls,
percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS latency_p50_ms,
percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS latency_p95_ms
"""
_ROW = ", ".join(name for name in COLUMNS if name != "reserved_nano")

Subjects = Sequence[tuple[str, str]] | None
"""(scope, subject) pairs that a caller may see; None: all of the tenant."""


class RuleRepository:
    """One of the tables `budgets` and `rate_limits` of the control database. Statements are made of constants here."""

    def __init__(self, databases: Databases, table: str) -> None:
        self._databases = databases
        self._table = table
        self._terms = _TERMS[table]

    async def add(self, tenant: UUID, scope: str, subject: str, terms: Mapping[str, Any]) -> asyncpg.Record:
        """Raises ConflictError where the subject has one."""
        names = ("id", "tenant_id", "scope", "subject", *self._terms)
        values = [uuid7(), tenant, scope, subject, *(terms[name] for name in self._terms)]
        places = ", ".join(f"${number + 1}" for number in range(len(names)))
        return await self._written(
            f"INSERT INTO {self._table} ({', '.join(names)}) VALUES ({places}) RETURNING *",  # noqa: S608
            values,
        )

    async def replace(self, tenant: UUID, id: UUID, terms: Mapping[str, Any]) -> asyncpg.Record:
        """Raises ConflictError where the subject has another one like it."""
        changes = ", ".join(f"{name} = ${number + 3}" for number, name in enumerate(self._terms))
        return await self._written(
            f"UPDATE {self._table} SET {changes}, updated_at = now() "  # noqa: S608
            "WHERE tenant_id = $1 AND id = $2 RETURNING *",
            [tenant, id, *(terms[name] for name in self._terms)],
        )

    async def find(self, tenant: UUID, id: UUID, subjects: Subjects) -> asyncpg.Record | None:
        """One that the caller may see."""
        where, arguments = _visible(subjects, [tenant, id])
        return await self._databases.control.fetchrow(
            f"SELECT * FROM {self._table} WHERE tenant_id = $1 AND id = $2{where}",  # noqa: S608
            *arguments,
        )

    async def page(self, tenant: UUID, subjects: Subjects, after: UUID | None, count: int) -> list[asyncpg.Record]:
        """Those that the caller may see, oldest first, after an id."""
        where, arguments = _visible(subjects, [tenant, count, after or UUID(int=0)])
        return await self._databases.control.fetch(
            f"SELECT * FROM {self._table} WHERE tenant_id = $1 AND id > $3{where} ORDER BY id LIMIT $2",  # noqa: S608
            *arguments,
        )

    async def delete(self, tenant: UUID, id: UUID) -> bool:
        """Whether there was one."""
        statement = f"DELETE FROM {self._table} WHERE tenant_id = $1 AND id = $2 RETURNING id"  # noqa: S608
        return await self._databases.control.fetchval(statement, tenant, id) is not None

    async def is_of_tenant(self, tenant: UUID, scope: str, subject: UUID) -> bool:
        """Whether a user or an API key belongs to the tenant."""
        return bool(await self._databases.control.fetchval(_EXISTS[scope], tenant, subject))

    async def _written(self, statement: str, arguments: Sequence[Any]) -> asyncpg.Record:
        try:
            row = await self._databases.control.fetchrow(statement, *arguments)
        except asyncpg.UniqueViolationError:
            kind = "budget for this period" if self._table == "budgets" else "limit"
            raise ConflictError(f"This subject has a {kind} already: change that one.", should_retry=False) from None
        assert row is not None
        return row


class UsageRepository:
    """The ledgers of the tenants, each in its own database. user: only this user's rows, None: all."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def totals(self, tenant: str, query: UsageQuery, user: str | None) -> asyncpg.Record:
        """Sums of the whole period."""
        where, arguments = _period(query, user)
        row = await self._database(tenant).fetchrow(f"SELECT {_SUMS} FROM usage_ledger WHERE {where}", *arguments)  # noqa: S608
        assert row is not None
        return row

    async def groups(
        self, tenant: str, query: UsageQuery, user: str | None, after: Sequence[str] | None
    ) -> list[asyncpg.Record]:
        """Sums of each group in the order of their names, after one; one more than a page, if there are."""
        where, arguments = _period(query, user)
        names = [_GROUPS[name] for name in query.group_by]
        if after is not None:
            arguments += after
            places = ", ".join(f"${len(arguments) - len(after) + number + 1}" for number in range(len(after)))
            where += f" AND ({', '.join(names)}) > ({places})"
        columns = ", ".join(f'{name} AS "by_{group}"' for name, group in zip(names, query.group_by, strict=True))
        order = ", ".join(str(number + 1) for number in range(len(names)))
        return await self._database(tenant).fetch(
            f"SELECT {columns}, {_SUMS} FROM usage_ledger WHERE {where} "  # noqa: S608
            f"GROUP BY {order} ORDER BY {order} LIMIT {query.limit + 1}",
            *arguments,
        )

    async def rows(
        self, tenant: str, query: UsageQuery, user: str | None, before: Sequence[Any] | None
    ) -> list[asyncpg.Record]:
        """Rows, newest first, before one (its time and id); one more than a page, if there are."""
        where, arguments = _period(query, user)
        if before is not None:
            arguments += before
            where += f" AND (started_at, id) < (${len(arguments) - 1}, ${len(arguments)})"
        return await self._database(tenant).fetch(
            f"SELECT {_ROW} FROM usage_ledger WHERE {where} "  # noqa: S608
            f"ORDER BY started_at DESC, id DESC LIMIT {query.limit + 1}",
            *arguments,
        )

    def _database(self, tenant: str) -> Database:
        return self._databases.pool(tenant_database(tenant))


def _visible(subjects: Subjects, arguments: list[Any]) -> tuple[str, list[Any]]:
    if subjects is None:
        return "", arguments
    first = len(arguments) + 1
    return (
        f" AND (scope, subject) IN (SELECT * FROM unnest(${first}::text[], ${first + 1}::text[]))",  # noqa: S608
        [*arguments, [scope for scope, _ in subjects], [subject for _, subject in subjects]],
    )


def _period(query: UsageQuery, user: str | None) -> tuple[str, list[Any]]:
    arguments: list[Any] = [query.start, query.to]
    where = "started_at >= $1 AND started_at < $2"
    if user is not None:
        arguments.append(user)
        where += " AND user_id = $3"
    return where, arguments
