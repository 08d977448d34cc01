"""Names of the keys in Redis. The tenant's slug in braces makes all keys of one call share a slot of a cluster."""

from datetime import datetime
from functools import lru_cache
from uuid import UUID

from deployments.provider_caller.money.period import PeriodName, period_of

EPOCH = "penstock:money:epoch"
"""Names the present data of Redis; gone or changed: Redis has lost data."""
TENANTS = "penstock:money:tenants"
"""Set of the tenants that have open holds or waiting rows."""
RECONCILER = "penstock:money:reconciler"
"""Lock of the replica that reconciles."""


@lru_cache(10_000)
def prefix(tenant: str) -> str:
    """What every key of a tenant begins with."""
    return f"penstock:{{{tenant}}}:"


def holds(tenant: str) -> str:
    """Hash: hold id to amount, counters and claim (see hold.py)."""
    return prefix(tenant) + "holds"


def deadlines(tenant: str) -> str:
    """Sorted set: hold id by the millisecond at which it counts as lost."""
    return prefix(tenant) + "deadlines"


def rebuilding(tenant: str) -> str:
    """Lock under which counters are summed up again; no settlement happens meanwhile."""
    return prefix(tenant) + "rebuilding"


def settled(tenant: str, mark: str) -> str:
    """Says for some minutes that a batch was settled."""
    return f"{prefix(tenant)}settled:{mark}"


def spool(tenant: str) -> str:
    """Hash: row id to a ledger row that could not be written yet."""
    return prefix(tenant) + "spool"


@lru_cache(10_000)
def _budget(tenant: str, budget: UUID) -> str:
    return f"{prefix(tenant)}budget:{budget.hex}:"


def counter(tenant: str, budget: UUID, period: PeriodName, moment: datetime) -> str:
    """Hash: spent and reserved nano-dollars of a budget in one period."""
    return _budget(tenant, budget) + period_of(period, moment).label


@lru_cache(10_000)
def rate(tenant: str, scope: str, subject: str, unit: str) -> str:
    """The arrival time of a rate limit (kit.gcra)."""
    return f"{prefix(tenant)}rate:{scope}:{subject}:{unit}"


@lru_cache(10_000)
def slots(tenant: str, scope: str, subject: str) -> str:
    """Sorted set: lease id by the millisecond at which its slot is free again."""
    return f"{prefix(tenant)}slots:{scope}:{subject}"
