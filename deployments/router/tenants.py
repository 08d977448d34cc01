"""What tenants have set about routing, read from the control database: failover, rules, models, experiments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal

import asyncpg
import orjson
import pydantic
import structlog
from pydantic import AfterValidator, Field

from deployments.provider_caller.prices import Price
from deployments.router.arms import Arm, Experiment
from deployments.router.policy import PolicyName, entry_of
from deployments.router.rules import OPERATIONS
from kit.postgres import Databases
from kit.settings import Section

DOMAIN = "routing"
"""Of `deployments.snapshots`."""

Failover = Literal["automatic", "manual"]

_log = structlog.get_logger("penstock.router")


def _operation(value: str) -> str:
    if value not in OPERATIONS:
        raise ValueError(f"must be one of {', '.join(OPERATIONS)}")
    return value


def _entry(value: str) -> str:
    try:
        entry_of(value)
    except ValueError:
        raise ValueError("must be provider/model, such as openai/gpt-4o, or provider/* for all its models") from None
    return value


Operation = Annotated[str, AfterValidator(_operation)]
EntryText = Annotated[str, Field(max_length=300), AfterValidator(_entry)]


class Rules(Section):
    """policy: for the model `auto`. rules: the only models that may answer an operation, in order."""

    policy: PolicyName | None = None
    rules: dict[Operation, Annotated[list[EntryText], Field(min_length=1, max_length=50)]] = Field(default_factory=dict)


class TenantRouting(Rules):
    """agents: by agent id; what an agent does not set is the tenant's."""

    agents: dict[str, Rules] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantModel:
    """A model of the tenant's own account with a provider. Prices are nano-dollars per token, None where unknown."""

    provider: str
    model: str
    operation: str | None = None
    context_window: int | None = None
    input_price: int | None = None
    output_price: int | None = None

    def price(self, today: date) -> Price | None:
        """As the catalogue's models have it; None where unknown."""
        if self.input_price is None or self.output_price is None:
            return None
        return Price.model_validate({"from": today, "input": self.input_price, "output": self.output_price})


@dataclass(slots=True)
class TenantTables:
    """One tenant's."""

    failover: Failover = "automatic"
    routing: TenantRouting = field(default_factory=TenantRouting)
    models: tuple[TenantModel, ...] = ()
    experiments: tuple[Experiment, ...] = ()


NOTHING = TenantTables()
"""Of a tenant that has set nothing."""

RoutingTables = Mapping[str, TenantTables]
"""By tenant slug."""

_SETTINGS = "SELECT t.slug, s.failover, s.routing FROM tenant_settings s JOIN tenants t ON t.id = s.tenant_id"
_MODELS = """
SELECT t.slug, m.provider, m.model, m.operation, m.context_window, m.input_price, m.output_price
FROM tenant_models m JOIN tenants t ON t.id = m.tenant_id
ORDER BY m.created_at, m.provider, m.model
"""
_EXPERIMENTS = """
SELECT t.slug, e.id, e.name, e.operation, e.arms
FROM experiments e JOIN tenants t ON t.id = e.tenant_id
WHERE e.state = 'running'
ORDER BY e.created_at, e.id
"""


async def load_tables(databases: Databases) -> RoutingTables:
    """Everything, as of one moment."""
    async with databases.control.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        settings = await connection.fetch(_SETTINGS)
        models = await connection.fetch(_MODELS)
        experiments = await connection.fetch(_EXPERIMENTS)
    tables: dict[str, TenantTables] = {}
    for row in settings:
        tables[row["slug"]] = TenantTables(row["failover"], _routing(row["slug"], row["routing"]))
    for row in models:
        entry = tables.setdefault(row["slug"], TenantTables())
        entry.models += (TenantModel(**{name: value for name, value in row.items() if name != "slug"}),)
    for row in experiments:
        entry = tables.setdefault(row["slug"], TenantTables())
        entry.experiments += (_experiment(row),)
    return tables


def _routing(slug: str, stored: str) -> TenantRouting:
    try:
        return TenantRouting.model_validate_json(stored)
    except pydantic.ValidationError as error:
        # Written by another version perhaps. One tenant's settings must not keep the others' from being loaded.
        _log.warning("routing of a tenant is ignored", tenant=slug, problems=error.error_count())
        return TenantRouting()


def _experiment(row: asyncpg.Record) -> Experiment:
    arms: list[dict[str, Any]] = orjson.loads(row["arms"])
    return Experiment(
        id=str(row["id"]),
        name=row["name"],
        operation=row["operation"],
        arms=tuple(Arm(arm["name"], arm["model"], arm["weight"]) for arm in arms),
    )
