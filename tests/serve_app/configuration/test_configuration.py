"""/api/config on real Postgres."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deployments.router.policy import load_policy
from deployments.router.tenants import TenantModel, load_tables
from kit.ids import uuid7
from serve_app.auth.keys import generate
from serve_app.tenants.repository import TenantRepository

TUNED = {
    "provider": "openai",
    "model": "ft:gpt-4o-mini:school::1",
    "operation": "curriculum",
    "context_window": 128000,
    "input_price_per_million_usd": 0.3,
    "output_price_per_million_usd": 1.2,
}


@pytest.fixture
async def config(api: Any) -> AsyncIterator[Any]:
    """PUT that must succeed; everything is back at its default afterwards."""

    async def put(**fields: Any) -> dict[str, Any]:
        response: httpx.Response = await api.client.put("/api/config", json=fields)
        assert response.status_code == 200, response.text
        return dict(response.json())

    yield put
    await put(failover=None, routing=None, models=None)


async def test_without_settings_everything_is_the_platforms(api: Any) -> None:
    found = (await api.client.get("/api/config")).json()
    assert found["failover"] == {"value": "automatic", "origin": "platform default"}
    assert found["routing"]["policy"] == {"value": "rules", "origin": "platform default"}
    shipped = load_policy("default").operations
    assert {name: setting["value"] for name, setting in found["routing"]["rules"].items()} == {
        name: ["/".join(entry) for entry in operation.models] for name, operation in shipped.items()
    }
    assert found["models"] == {"value": [], "origin": "platform default"}


async def test_what_is_set_is_the_tenants_and_the_rest_stays(api: Any, config: Any) -> None:
    await config(failover="manual")
    found = await config(routing={"policy": "cost", "rules": {"code": ["mock/echo"]}})
    assert found == (await api.client.get("/api/config")).json()
    assert found["failover"] == {"value": "manual", "origin": "tenant"}
    assert found["routing"]["policy"] == {"value": "cost", "origin": "tenant"}
    assert found["routing"]["rules"]["code"] == {"value": ["mock/echo"], "origin": "tenant"}
    assert found["routing"]["rules"]["chat"]["origin"] == "platform default"
    found = await config(routing={"rules": {"chat": ["openai/*"]}})
    assert [found["routing"]["rules"][name]["value"] for name in ("code", "chat")] == [["mock/echo"], ["openai/*"]]


async def test_null_goes_back_to_the_default(config: Any) -> None:
    await config(failover="manual", routing={"policy": "cost", "rules": {"code": ["mock/echo"]}})
    found = await config(failover=None, routing={"policy": None, "rules": {"code": None}})
    origins = [found["failover"], found["routing"]["policy"], found["routing"]["rules"]["code"]]
    assert [setting["origin"] for setting in origins] == ["platform default"] * 3


async def test_agents_have_rules_of_their_own(config: Any) -> None:
    agent = str(uuid7())
    found = await config(routing={"agents": {agent: {"policy": "speed", "rules": {"code": ["mock/slow"]}}}})
    assert found["routing"]["agents"]["value"] == {agent: {"policy": "speed", "rules": {"code": ["mock/slow"]}}}
    assert (await config(routing={"agents": {agent: None}}))["routing"]["agents"]["value"] == {}


async def test_a_registered_model_may_be_routed_to_at_once(api: Any, config: Any) -> None:
    name = f"{TUNED['provider']}/{TUNED['model']}"
    found = await config(models=[TUNED], routing={"rules": {"curriculum": [name]}})
    assert found["models"] == {"value": [TUNED], "origin": "tenant"}
    assert (await config(models=[]))["models"]["value"] == []


async def test_the_router_reads_what_was_set(api: Any, config: Any) -> None:
    other = {"provider": "compatible", "model": "my-llama"}
    await config(failover="manual", routing={"policy": "quality"}, models=[TUNED, other])
    tables = (await load_tables(api.databases))["default"]
    assert (tables.failover, tables.routing.policy) == ("manual", "quality")
    assert tables.models == (
        TenantModel("openai", "ft:gpt-4o-mini:school::1", "curriculum", 128000, 300, 1200),
        TenantModel("compatible", "my-llama"),
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"failover": "sometimes"}, "failover"),
        ({"routing": {"policy": "beauty"}}, "routing.policy"),
        ({"routing": {"rules": {"code": ["gpt-9"]}}}, "routing.rules.code[0]"),
        ({"routing": {"rules": {"code": ["mock/echo", "openai/gpt-9"]}}}, "routing.rules.code[1]"),
        ({"routing": {"rules": {"code": ["nobody/*"]}}}, "routing.rules.code[0]"),
        ({"routing": {"rules": {"code": []}}}, "routing.rules.code"),
        ({"routing": {"agents": {"a": {"rules": {"code": ["mock/gone"]}}}}}, "routing.agents.a.rules.code[0]"),
        ({"models": [{**TUNED, "provider": "nobody"}]}, "models[0].provider"),
        ({"models": [TUNED, TUNED]}, "models[1].model"),
        ({"models": [{**TUNED, "operation": "poetry"}]}, "models[0].operation"),
        ({"models": [{**TUNED, "input_price_per_million_usd": 0.0001}]}, "models[0].input_price_per_million_usd"),
        ({"models": [{**TUNED, "input_price_per_million_usd": None}]}, "models[0]"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_changes(
    api: Any, config: Any, fields: dict[str, Any], named: str
) -> None:
    before = await config(failover="manual")
    response = await api.client.put("/api/config", json=fields)
    assert response.status_code == 400, response.text
    assert named in response.json()["error"]["details"]
    assert (await api.client.get("/api/config")).json() == before


async def test_only_administrators_change_it(api: Any) -> None:
    key = generate()
    async with api.databases.control.transaction() as connection:
        tenants = TenantRepository(connection)
        tenant = next(t for t in await tenants.tenants() if t.slug == "default")
        user = await tenants.ensure_user(tenant.id, f"{uuid7().hex}@example.org", "user")
        await tenants.add_key(tenant.id, user, "test", key.prefix, key.hash)
    headers = {"authorization": f"Bearer {key.plaintext}"}
    response = await api.client.put("/api/config", json={"failover": "manual"}, headers=headers)
    assert response.status_code == 403
    assert (await api.client.get("/api/config", headers=headers)).status_code == 200
