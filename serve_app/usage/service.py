"""Who may see and change budgets and limits, and what was used."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from deployments.provider_caller.money.balances import Balance, Balances
from deployments.provider_caller.money.dollars import dollars
from deployments.provider_caller.money.rules import Budget as BudgetRule
from kit.errors import NotFoundError, PermissionDeniedError
from serve_app.auth.schemas import Principal
from serve_app.tenants.service import ADMIN_ROLE
from serve_app.usage.cursors import cut, read_cursor
from serve_app.usage.repository import RuleRepository, Subjects, UsageRepository
from serve_app.usage.schemas import (
    Budget,
    BudgetList,
    BudgetTerms,
    Limit,
    LimitList,
    LimitTerms,
    NewBudget,
    NewLimit,
    Page,
    Subject,
    Totals,
    Usage,
    UsageGroup,
    UsageQuery,
    UsageRow,
)


class _Rules:
    """What budgets and limits have in common: whose they are, who may change them."""

    noun = ""

    def __init__(self, rules: RuleRepository) -> None:
        self._rules = rules

    async def delete(self, caller: Principal, id: str) -> None:
        """Raises NotFoundError, or PermissionDeniedError."""
        self._only_admins(caller)
        if not await self._rules.delete(caller.tenant_id, self._parsed(id)):
            raise self._unknown()

    async def _found(self, caller: Principal, id: str) -> asyncpg.Record:
        row = await self._rules.find(caller.tenant_id, self._parsed(id), _visible_to(caller))
        if row is None:
            raise self._unknown()
        return row

    async def _page(self, caller: Principal, page: Page) -> tuple[list[asyncpg.Record], str | None]:
        after = read_cursor(page, [UUID])
        rows = await self._rules.page(
            caller.tenant_id, _visible_to(caller), after[0] if after else None, page.limit + 1
        )
        return cut(rows, page, lambda row: [str(row["id"])])

    async def _added(self, caller: Principal, new: Subject, terms: Mapping[str, Any]) -> asyncpg.Record:
        self._only_admins(caller)
        return await self._rules.add(caller.tenant_id, new.scope, await self._subject(caller, new), terms)

    async def _replaced(self, caller: Principal, id: str, terms: Mapping[str, Any]) -> asyncpg.Record:
        self._only_admins(caller)
        found = await self._found(caller, id)
        return await self._rules.replace(caller.tenant_id, found["id"], terms)

    async def _subject(self, caller: Principal, new: Subject) -> str:
        """The id of whom it is for. Raises NotFoundError for one of another tenant."""
        if new.scope == "agent":
            return new.subject or ""
        if new.scope == "tenant":
            if new.subject not in (None, caller.tenant):
                raise _unknown_subject(f"must be {caller.tenant} or be left out")
            return caller.tenant
        try:
            id = UUID(new.subject or "")
        except ValueError:
            raise _unknown_subject(f"must be the id of a {new.scope}") from None
        if not await self._rules.is_of_tenant(caller.tenant_id, new.scope, id):
            raise _unknown_subject(f"must be the id of a {new.scope} of your tenant")
        return str(id)

    def _only_admins(self, caller: Principal) -> None:
        if caller.role != ADMIN_ROLE:
            raise PermissionDeniedError(f"Only administrators may change {self.noun}s.")

    def _parsed(self, id: str) -> UUID:
        try:
            return UUID(id)
        except ValueError:
            raise self._unknown() from None

    def _unknown(self) -> NotFoundError:
        return NotFoundError(
            f"There is no {self.noun} with this id.", details={"id": [f"must be the id of a {self.noun}"]}
        )


class BudgetService(_Rules):
    """Budgets of the caller's tenant. An administrator sees all, others those for their user and their key."""

    noun = "budget"

    def __init__(
        self, rules: RuleRepository, balances: Balances, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(rules)
        self._balances = balances
        self._clock = clock

    async def add(self, caller: Principal, new: NewBudget) -> Budget:
        """Raises ConflictError where the subject has one for this period."""
        row = await self._added(caller, new, _budget_terms(new))
        return (await self._shown(caller, [row]))[0]

    async def get(self, caller: Principal, id: str) -> Budget:
        """Raises NotFoundError."""
        return (await self._shown(caller, [await self._found(caller, id)]))[0]

    async def page(self, caller: Principal, page: Page) -> BudgetList:
        """Oldest first."""
        rows, cursor = await self._page(caller, page)
        return BudgetList(budgets=await self._shown(caller, rows), next_cursor=cursor)

    async def replace(self, caller: Principal, id: str, terms: BudgetTerms) -> Budget:
        """What was spent stays."""
        row = await self._replaced(caller, id, _budget_terms(terms))
        return (await self._shown(caller, [row]))[0]

    async def _shown(self, caller: Principal, rows: Sequence[asyncpg.Record]) -> list[Budget]:
        now = self._clock()
        budgets = [
            BudgetRule(
                row["id"],
                caller.tenant,
                row["scope"],
                row["subject"],
                row["amount_nano"],
                row["period"],
                row["mode"] == "hard",
            )
            for row in rows
        ]
        balances = await self._balances.read(caller.tenant, budgets, now)
        return [
            _budget(row, budget, balance, now) for row, budget, balance in zip(rows, budgets, balances, strict=True)
        ]


class LimitService(_Rules):
    """Limits of the caller's tenant. An administrator sees all, others those for their user and their key."""

    noun = "limit"

    async def add(self, caller: Principal, new: NewLimit) -> Limit:
        """Raises ConflictError where the subject has one."""
        return _limit(await self._added(caller, new, _limit_terms(new)))

    async def get(self, caller: Principal, id: str) -> Limit:
        """Raises NotFoundError."""
        return _limit(await self._found(caller, id))

    async def page(self, caller: Principal, page: Page) -> LimitList:
        """Oldest first."""
        rows, cursor = await self._page(caller, page)
        return LimitList(limits=[_limit(row) for row in rows], next_cursor=cursor)

    async def replace(self, caller: Principal, id: str, terms: LimitTerms) -> Limit:
        """All three at once."""
        return _limit(await self._replaced(caller, id, _limit_terms(terms)))


class UsageService:
    """What the tenant has used; for those who are no administrators what they have used."""

    def __init__(self, usage: UsageRepository) -> None:
        self._usage = usage

    async def usage(self, caller: Principal, query: UsageQuery) -> Usage:
        """Sums, and a page of groups or of rows."""
        user = None if caller.role == ADMIN_ROLE else str(caller.user_id)
        totals = await self._usage.totals(caller.tenant, query, user)
        groups: list[UsageGroup] = []
        rows: list[UsageRow] = []
        cursor = None
        if query.detail:
            before = read_cursor(query, [_moment, UUID])
            found = await self._usage.rows(caller.tenant, query, user, before)
            found, cursor = cut(found, query, lambda row: [row["started_at"].isoformat(), str(row["id"])])
            rows = [_row(row) for row in found]
        elif query.group_by:
            after = read_cursor(query, [str] * len(query.group_by))
            found = await self._usage.groups(caller.tenant, query, user, after)
            found, cursor = cut(found, query, lambda row: [row[f"by_{name}"] for name in query.group_by])
            groups = [
                UsageGroup(**_sums(row), group={name: row[f"by_{name}"] for name in query.group_by}) for row in found
            ]
        return Usage(
            start=query.start,
            end=query.to,
            totals=Totals(**_sums(totals)),
            groups=groups,
            rows=rows,
            next_cursor=cursor,
        )


def _visible_to(caller: Principal) -> Subjects:
    if caller.role == ADMIN_ROLE:
        return None
    return [("user", str(caller.user_id)), ("key", str(caller.key_id))]


def _unknown_subject(problem: str) -> NotFoundError:
    return NotFoundError(f"There is no such subject: subject {problem}.", details={"subject": [problem]})


def _budget_terms(terms: BudgetTerms) -> dict[str, Any]:
    return {"amount_nano": terms.nano, "period": terms.period, "mode": terms.mode}


def _limit_terms(terms: LimitTerms) -> dict[str, Any]:
    return {
        "requests_per_minute": terms.requests_per_minute,
        "tokens_per_minute": terms.tokens_per_minute,
        "concurrency": terms.concurrency,
    }


def _budget(row: asyncpg.Record, budget: BudgetRule, balance: Balance, now: datetime) -> Budget:
    period = budget.period_at(now)
    left = max(0, budget.amount - balance.spent - (balance.reserved or 0))
    warned = balance.spent >= budget.warning_at
    return Budget(
        id=budget.id,
        scope=budget.scope,
        subject=budget.subject,
        amount_usd=dollars(budget.amount),
        period=budget.period,
        mode=row["mode"],
        spent_usd=dollars(balance.spent),
        reserved_usd=None if balance.reserved is None else dollars(balance.reserved),
        remaining_usd=dollars(left),
        period_start=period.start,
        period_end=period.end,
        state="exceeded" if balance.spent >= budget.amount else "warning" if warned else "ok",
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _limit(row: asyncpg.Record) -> Limit:
    return Limit(**{name: row[name] for name in Limit.model_fields})


def _row(row: asyncpg.Record) -> UsageRow:
    columns = dict(row)
    cost = columns.pop("cost_nano")
    return UsageRow(**columns, cost_usd=None if cost is None else dollars(cost))


def _sums(row: asyncpg.Record) -> dict[str, Any]:
    columns = {name: value for name, value in row.items() if not name.startswith("by_")}
    return {**columns, "cost_usd": dollars(columns.pop("cost_nano"))}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
