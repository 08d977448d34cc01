"""Budgets and limits of all tenants, as the control database has them, and those that apply to one account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from deployments.protocols import Account
from deployments.provider_caller.money import keys
from deployments.provider_caller.money.period import Period, PeriodName, period_of
from kit.gcra import Rate
from kit.postgres import Databases

Scope = Literal["tenant", "user", "key", "agent"]
Unit = Literal["requests", "tokens"]

DOMAIN = "budgets"
"""Of the snapshot."""

_BUDGETS = """
SELECT b.id, t.slug AS tenant, b.scope, b.subject, b.amount_nano, b.period, b.mode
FROM budgets b JOIN tenants t ON t.id = b.tenant_id ORDER BY b.id
"""
_LIMITS = """
SELECT t.slug AS tenant, l.scope, l.subject, l.requests_per_minute, l.tokens_per_minute, l.concurrency
FROM rate_limits l JOIN tenants t ON t.id = l.tenant_id ORDER BY l.id
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """amount: nano-dollars in each period. hard: refuses what it does not cover; else it only tells."""

    id: UUID
    tenant: str
    scope: Scope
    subject: str
    amount: int
    period: PeriodName
    hard: bool

    @property
    def warning_at(self) -> int:
        """Nano-dollars that are 80 % of the amount, rounded up."""
        return -(-self.amount * 4 // 5)

    def counter(self, moment: datetime) -> str:
        """The key of its counter at a moment."""
        return keys.counter(self.tenant, self.id, self.period, moment)

    def period_at(self, moment: datetime) -> Period:
        """Its period at a moment."""
        return period_of(self.period, moment)


@dataclass(frozen=True, slots=True)
class Limit:
    """What one subject may do: requests and tokens a minute, calls at once; None: as much as it likes."""

    tenant: str
    scope: Scope
    subject: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class RateRule:
    """One rate limit: its key, its rate."""

    key: str
    unit: Unit
    rate: Rate
    scope: Scope


@dataclass(frozen=True, slots=True)
class SlotRule:
    """One cap on calls at once."""

    key: str
    cap: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class Applying:
    """What applies to one account."""

    budgets: tuple[Budget, ...] = ()
    rates: tuple[RateRule, ...] = ()
    slots: tuple[SlotRule, ...] = ()

    @property
    def token_rates(self) -> tuple[RateRule, ...]:
        """Those that count tokens."""
        return tuple(rate for rate in self.rates if rate.unit == "tokens")


NOTHING = Applying()


@dataclass(frozen=True)
class Rules:
    """All budgets and limits, by tenant and subject."""

    budgets: Mapping[str, Mapping[tuple[Scope, str], tuple[Budget, ...]]] = field(default_factory=dict)
    limits: Mapping[str, Mapping[tuple[Scope, str], Limit]] = field(default_factory=dict)
    _known: dict[Account, Applying] = field(default_factory=dict, repr=False, compare=False)

    def applying_to(self, account: Account) -> Applying:
        """The budgets and limits of the account's tenant, user, key and agent."""
        if account.tenant not in self.budgets and account.tenant not in self.limits:
            return NOTHING
        known = self._known.get(account)
        if known is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            known = self._known[account] = self._find(account)
        return known

    def of_tenant(self, tenant: str) -> tuple[Budget, ...]:
        """Every budget of a tenant."""
        return tuple(budget for budgets in self.budgets.get(tenant, {}).values() for budget in budgets)

    def _find(self, account: Account) -> Applying:
        subjects = _subjects(account)
        budgets, limits = self.budgets.get(account.tenant, {}), self.limits.get(account.tenant, {})
        found = [limits[subject] for subject in subjects if subject in limits]
        return Applying(
            tuple(budget for subject in subjects for budget in budgets.get(subject, ())),
            tuple(rate for limit in found for rate in _rates(limit)),
            tuple(
                SlotRule(keys.slots(limit.tenant, limit.scope, limit.subject), limit.concurrency, limit.scope)
                for limit in found
                if limit.concurrency is not None
            ),
        )


def _subjects(account: Account) -> list[tuple[Scope, str]]:
    subjects: list[tuple[Scope, str]] = [("tenant", account.tenant)]
    if account.user_id:
        subjects.append(("user", account.user_id))
    if account.key_id:
        subjects.append(("key", account.key_id))
    if account.agent_id:
        subjects.append(("agent", account.agent_id))
    return subjects


def _rates(limit: Limit) -> list[RateRule]:
    amounts: list[tuple[Unit, int | None]] = [
        ("requests", limit.requests_per_minute),
        ("tokens", limit.tokens_per_minute),
    ]
    return [
        RateRule(keys.rate(limit.tenant, limit.scope, limit.subject, unit), unit, Rate(amount), limit.scope)
        for unit, amount in amounts
        if amount is not None
    ]


def make_rules(budgets: list[Budget], limits: list[Limit]) -> Rules:
    """Put in order what a database or a test has."""
    by_tenant: dict[str, dict[tuple[Scope, str], tuple[Budget, ...]]] = {}
    for budget in budgets:
        subjects = by_tenant.setdefault(budget.tenant, {})
        subject = (budget.scope, budget.subject)
        subjects[subject] = (*subjects.get(subject, ()), budget)
    limits_of: dict[str, dict[tuple[Scope, str], Limit]] = {}
    for limit in limits:
        limits_of.setdefault(limit.tenant, {})[limit.scope, limit.subject] = limit
    return Rules(by_tenant, limits_of)


async def load_rules(databases: Databases) -> Rules:
    """All of them, from the control database. Raises UnavailableError."""
    budgets = [
        Budget(
            row["id"],
            row["tenant"],
            row["scope"],
            row["subject"],
            row["amount_nano"],
            row["period"],
            row["mode"] == "hard",
        )
        for row in await databases.control.fetch(_BUDGETS)
    ]
    limits = [Limit(**dict(row)) for row in await databases.control.fetch(_LIMITS)]
    return make_rules(budgets, limits)
