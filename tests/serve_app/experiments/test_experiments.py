"""/api/experiments, on real Postgres; the ledger is written as the provider caller writes it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.retriever.store import tenant_database
from kit.ids import uuid7
from serve_app.auth.keys import generate
from serve_app.tenants.repository import TenantRepository

ARMS = [{"name": "old", "model": "auto"}, {"name": "new", "model": "mock/echo", "weight": 3}]


@dataclass
class Lab:
    """The experiments of the default tenant; each test has names of its own."""

    api: Any

    async def post(self, **fields: Any) -> httpx.Response:
        body = {"name": f"Trial {uuid7().hex}", "arms": ARMS} | fields
        response: httpx.Response = await self.api.client.post("/api/experiments", json=body)
        return response

    async def made(self, **fields: Any) -> dict[str, Any]:
        response = await self.post(**fields)
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def put(self, id: str, **fields: Any) -> httpx.Response:
        response: httpx.Response = await self.api.client.put(f"/api/experiments/{id}", json=fields)
        return response

    async def get(self, path: str) -> httpx.Response:
        response: httpx.Response = await self.api.client.get(f"/api/experiments{path}")
        return response

    async def called(
        self, experiment: str, arm: str, user: str, *, outcome: str = "ok", cost: int | None = 1000, **more: Any
    ) -> None:
        """One attempt in the ledger. more: request, attempt, start (seconds), seconds."""
        started = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=more.get("start", 0))
        row = {
            "id": uuid7(),
            "request_id": more.get("request") or uuid7().hex,
            "attempt": more.get("attempt", 1),
            "started_at": started,
            "user_id": user,
            "key_id": "k",
            "dialect": "openai_chat",
            "provider": "mock",
            "model": "echo",
            "credential": "operator",
            "operation": "chat",
            "reason": "",
            "experiment": experiment,
            "arm": arm,
            "streamed": False,
            "outcome": outcome,
            "input_tokens": 1,
            "output_tokens": 1,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "estimated": False,
            "cost_nano": cost,
            "latency_ms": more.get("seconds", 1.0) * 1000,
        }
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        ledger = self.api.databases.pool(tenant_database("default"))
        await ledger.execute(f"INSERT INTO usage_ledger ({', '.join(row)}) VALUES ({marks})", *row.values())


@pytest.fixture
def lab(api: Any) -> Lab:
    return Lab(api)


@pytest.fixture
async def as_user(api: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of somebody who is no administrator."""
    key = generate()
    async with api.databases.control.transaction() as connection:
        tenants = TenantRepository(connection)
        tenant = next(t for t in await tenants.tenants() if t.slug == "default")
        user = await tenants.ensure_user(tenant.id, f"{uuid7().hex}@example.org", "user")
        await tenants.add_key(tenant.id, user, "test", key.prefix, key.hash)
    async with httpx.AsyncClient(base_url=api.url, headers={"x-api-key": key.plaintext}) as client:
        yield client


async def test_an_experiment_is_made_read_and_changed(lab: Lab) -> None:
    made = await lab.made(operation="code")
    assert (made["operation"], made["state"]) == ("code", "running")
    assert [(arm["name"], arm["model"], arm["weight"]) for arm in made["arms"]] == [
        ("old", "auto", 1.0),
        ("new", "mock/echo", 3.0),
    ]
    assert (await lab.get(f"/{made['id']}")).json() == made
    changed = await lab.put(made["id"], weights={"old": 9}, state="stopped")
    assert changed.status_code == 200
    assert [arm["weight"] for arm in changed.json()["arms"]] == [9, 3]
    assert changed.json()["state"] == "stopped"
    assert (await lab.get(f"/{made['id']}")).json() == changed.json()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"arms": ARMS[:1]}, "arms"),
        ({"arms": [ARMS[0], ARMS[0]]}, "body"),
        ({"arms": [{**arm, "weight": 0} for arm in ARMS]}, "body"),
        ({"arms": [ARMS[0], {"name": "x", "model": "gpt-9"}]}, "arms[1].model"),
        ({"arms": [ARMS[0], {"name": "x", "model": "local"}]}, "arms[1].model"),
        ({"arms": [ARMS[0], {"name": "x", "model": "echo", "weight": -1}]}, "arms[1].weight"),
        ({"operation": "poetry"}, "operation"),
        ({"name": "two\nlines"}, "name"),
        ({"goal": "more"}, "goal"),
    ],
)
async def test_what_is_wrong_is_named(lab: Lab, fields: dict[str, Any], named: str) -> None:
    response = await lab.post(**fields)
    assert response.status_code == 400
    assert named in response.json()["error"]["details"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"weights": {"newest": 1}}, "weights.newest"),
        ({"weights": {"old": 0, "new": 0}}, "weights"),
        ({"arms": ARMS}, "arms"),
        ({"state": "paused"}, "state"),
    ],
)
async def test_a_wrong_change_changes_nothing(lab: Lab, fields: dict[str, Any], named: str) -> None:
    made = await lab.made()
    response = await lab.put(made["id"], **fields)
    assert response.status_code == 400
    assert named in response.json()["error"]["details"]
    assert (await lab.get(f"/{made['id']}")).json() == made


async def test_a_name_is_taken_once(lab: Lab) -> None:
    made = await lab.made()
    assert (await lab.post(name=made["name"])).status_code == 409
    other = await lab.made()
    assert (await lab.put(other["id"], name=made["name"])).status_code == 409


async def test_only_administrators_change_and_everybody_reads(lab: Lab, as_user: httpx.AsyncClient) -> None:
    made = await lab.made()
    path = f"/api/experiments/{made['id']}"
    assert (await as_user.post("/api/experiments", json={"name": "x", "arms": ARMS})).status_code == 403
    assert (await as_user.put(path, json={"state": "stopped"})).status_code == 403
    assert (await as_user.get(path)).json()["state"] == "running"


async def test_another_tenants_experiment_is_not_found(lab: Lab) -> None:
    control = lab.api.databases.control
    slug, tenant, id = f"t{uuid7().hex}", uuid7(), uuid7()
    await control.execute(
        "INSERT INTO tenants (id, slug, name, database_name, state) VALUES ($1, $2, $2, $2, 'inactive')", tenant, slug
    )
    await control.execute(
        "INSERT INTO experiments (id, tenant_id, name, arms, state) VALUES ($1, $2, 'x', '[]', 'stopped')", id, tenant
    )
    for response in (await lab.get(f"/{id}"), await lab.get(f"/{id}/report"), await lab.put(str(id), name="y")):
        assert response.status_code == 404
    assert (await lab.get("/nonsense")).status_code == 404
    await control.execute("DELETE FROM tenants WHERE id = $1", tenant)


async def test_the_report_counts_calls_and_not_attempts(lab: Lab) -> None:
    id = (await lab.made())["id"]
    # The first attempt fails after 2 s, a fallback answers 0.5 s later within 1 s: one call of 3.5 s for 700 + 300.
    await lab.called(id, "old", "ann", request="r1", outcome="error", cost=700, seconds=2)
    await lab.called(id, "old", "ann", request="r1", attempt=2, cost=300, start=2.5, seconds=1)
    await lab.called(id, "old", "bob", outcome="error", cost=None, seconds=1.5)
    await lab.called(id, "new", "eve", seconds=1)
    found = (await lab.get(f"/{id}/report")).json()
    old, new = found["arms"]
    assert (old["calls"], old["users"], old["priced_calls"]) == (2, 2, 1)
    assert old["success_rate"]["value"] == 0.5
    assert old["cost_usd"]["value"] == pytest.approx(1e-6)
    assert old["latency_ms"]["value"] == pytest.approx(2500)
    assert (new["calls"], new["latency_ms"]["value"]) == (1, pytest.approx(1000))
    assert found["differences"][0]["latency_ms"]["value"] == pytest.approx(-1500)
    assert "too few users" in found["differences"][0]["latency_ms"]["sentence"]
    assert "look" in found["note"]


async def test_the_list_has_reports_and_pages(lab: Lab) -> None:
    made = [await lab.made() for _ in range(3)]
    first = (await lab.get("?limit=2")).json()
    assert [one["id"] for one in first["experiments"]] == [made[2]["id"], made[1]["id"]]
    assert [arm["calls"] for arm in first["experiments"][0]["report"]["arms"]] == [0, 0]
    second = (await lab.get(f"?limit=1&cursor={first['next_cursor']}")).json()
    assert [one["id"] for one in second["experiments"]] == [made[0]["id"]]
    assert (await lab.get("?limit=101")).json()["error"]["details"] == {
        "limit": ["input should be less than or equal to 100"]
    }
