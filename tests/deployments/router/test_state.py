"""What tenants have set, read from Postgres; observed speeds; and when views are made anew."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from redis.exceptions import RedisError

from deployments.protocols import Account
from deployments.provider_caller.catalogue import Model, ProviderState
from deployments.router.policy import load_policy
from deployments.router.state import RoutingState
from kit.ids import uuid7
from kit.postgres import Databases

PROVIDERS = (ProviderState("openai", "OpenAI", True, "", (Model(id="gpt-x"),)),)


@dataclass
class Tenant:
    slug: str
    id: UUID
    databases: Databases

    async def set(self, failover: str = "automatic", **routing: Any) -> None:
        await self.databases.control.execute(
            "INSERT INTO tenant_settings (tenant_id, failover, routing) VALUES ($1, $2, $3)"
            " ON CONFLICT (tenant_id) DO UPDATE SET failover = $2, routing = $3",
            *(self.id, failover, orjson.dumps(routing).decode()),
        )


@pytest.fixture
async def tenant(services: Any) -> AsyncIterator[Tenant]:
    databases = Databases(services.database_url, 3)
    slug, id = f"t{uuid7().hex}", uuid7()
    await databases.control.execute(
        "INSERT INTO tenants (id, slug, name, database_name, state) VALUES ($1, $2, $2, $2, 'inactive')", id, slug
    )
    yield Tenant(slug, id, databases)
    await databases.control.execute("DELETE FROM tenants WHERE id = $1", id)
    await databases.close()


@pytest.fixture
async def state(tenant: Tenant) -> AsyncIterator[RoutingState]:
    state = RoutingState(load_policy("default"), PROVIDERS, databases=tenant.databases)
    yield state
    await state.close()


async def test_what_a_tenant_sets_is_loaded(tenant: Tenant, state: RoutingState) -> None:
    await tenant.set("manual", policy="cost", rules={"code": ["openai/gpt-x"]})
    control = tenant.databases.control
    await control.execute(
        "INSERT INTO tenant_models (tenant_id, provider, model, operation, input_price) VALUES ($1, $2, $3, $4, 5)",
        *(tenant.id, "openai", "ft:x", "curriculum"),
    )
    arms = orjson.dumps([{"name": "a", "model": "auto", "weight": 1}, {"name": "b", "model": "gpt-x", "weight": 2.5}])
    experiment = uuid7()
    await control.execute(
        "INSERT INTO experiments (id, tenant_id, name, arms, state) VALUES ($1, $3, 'on', $4, 'running'),"
        " ($2, $3, 'off', $4, 'stopped')",
        *(experiment, uuid7(), tenant.id, arms.decode()),
    )
    await state.start()
    tables = state.view(tenant.slug).tables
    assert (tables.failover, tables.routing.policy) == ("manual", "cost")
    assert tables.routing.rules == {"code": ["openai/gpt-x"]}
    assert [(model.model, model.operation, model.input_price) for model in tables.models] == [("ft:x", "curriculum", 5)]
    assert [(e.id, e.name, [(arm.name, arm.weight) for arm in e.arms]) for e in tables.experiments] == [
        (str(experiment), "on", [("a", 1), ("b", 2.5)])
    ]


async def test_a_change_makes_a_new_view_and_nothing_else_does(tenant: Tenant, state: RoutingState) -> None:
    await state.refresh_tables()
    before = state.view(tenant.slug)
    assert state.view(tenant.slug) is before
    await tenant.set(policy="quality")
    assert state.view(tenant.slug) is before, "not yet looked"
    await state.refresh_tables()
    assert state.view(tenant.slug).policy_of(None) == "quality"


async def test_routing_that_cannot_be_read_is_ignored_for_that_tenant_alone(
    tenant: Tenant, state: RoutingState
) -> None:
    await tenant.set("manual", policy="beauty")
    await state.refresh_tables()
    view = state.view(tenant.slug)
    assert (view.tables.failover, view.policy_of(None)) == ("manual", "rules")


async def test_speeds_are_read_again_and_outlive_a_lost_redis() -> None:
    answers: list[Any] = [{("openai", "gpt-x"): "fast"}, RedisError("lost")]

    async def read() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    state = RoutingState(load_policy("default"), PROVIDERS, read_speeds=read)
    before = state.view("t")
    await state.refresh_speeds()
    seen = state.view("t")
    assert seen is not before
    assert seen.speeds == {("openai", "gpt-x"): "fast"}
    await state.refresh_speeds()
    assert state.view("t") is seen


async def test_a_key_of_the_tenants_own_makes_a_new_view() -> None:
    keys: set[str] = set()
    state = RoutingState(load_policy("default"), PROVIDERS, providers_of=lambda tenant: frozenset(keys))
    before = state.view("t")
    keys.add("groq")
    assert state.view("t") is not before
    assert state.view("t").own_providers == {"groq"}


async def test_the_variant_tells_apart_whose_answers_may_differ(tenant: Tenant, state: RoutingState) -> None:
    account = Account(tenant.slug, "ann")
    await state.refresh_tables()
    plain = state.variant(account)
    assert plain == state.variant(Account(tenant.slug, "bob")), "without an experiment users share answers"
    await tenant.set(policy="cost")
    await state.refresh_tables()
    cheap = state.variant(account)
    arms = orjson.dumps([{"name": name, "model": "auto", "weight": 1} for name in "ab"]).decode()
    await tenant.databases.control.execute(
        "INSERT INTO experiments (id, tenant_id, name, arms, state) VALUES ($1, $2, 'on', $3, 'running')",
        *(uuid7(), tenant.id, arms),
    )
    await state.refresh_tables()
    variants = {state.variant(Account(tenant.slug, f"user{number}")) for number in range(40)}
    assert len({plain, cheap} | variants) == 4
