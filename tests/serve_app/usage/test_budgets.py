from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from deployments.provider_caller.money import keys
from kit.ids import uuid7


async def add(client: Any, **fields: Any) -> Any:
    response = await client.post("/api/budgets", json={"amount_usd": "10", **fields})
    assert response.status_code == 201, response.text
    return response.json()


async def test_a_budget_is_made_read_changed_and_deleted(api: Any) -> None:
    made = await add(api.client, amount_usd="12.50", period="day", mode="alert")
    assert (made["scope"], made["subject"], made["amount_usd"]) == ("tenant", "default", "12.5")
    path = f"/api/budgets/{made['id']}"
    assert (await api.client.get(path)).json() == made
    changed = (await api.client.put(path, json={"amount_usd": 0.000000001, "period": "month", "mode": "hard"})).json()
    assert (changed["amount_usd"], changed["period"], changed["mode"]) == ("0.000000001", "month", "hard")
    assert [budget["id"] for budget in (await api.client.get("/api/budgets")).json()["budgets"]] == [made["id"]]
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.delete(path)).status_code == 404
    assert (await api.client.get(path)).status_code == 404


async def test_a_budget_shows_what_is_spent_reserved_and_left(
    api: Any, redis: Any, member: Any, write_row: Any
) -> None:
    now = datetime.now(UTC)
    user = str(member.user_id)
    row = await write_row(user_id=user, started_at=now, cost_nano=500_000_000)
    try:
        made = await add(api.client, amount_usd=1, scope="user", subject=user)
        assert (made["spent_usd"], made["reserved_usd"], made["remaining_usd"]) == ("0.5", "0", "0.5")
        counter = keys.counter("default", UUID(made["id"]), "month", now)
        await redis.hset(counter, mapping={"spent": 800_000_000, "reserved": 300_000_000})
        shown = (await member.client.get(f"/api/budgets/{made['id']}")).json()
        assert (shown["spent_usd"], shown["reserved_usd"], shown["remaining_usd"]) == ("0.8", "0.3", "0")
        assert shown["state"] == "warning"
        await redis.hset(counter, mapping={"spent": 1_000_000_000, "reserved": 0})
        assert (await api.client.get(f"/api/budgets/{made['id']}")).json()["state"] == "exceeded"
        assert shown["period_end"] > now.isoformat() > shown["period_start"]
    finally:
        await api.databases.pool("penstock_t_default").execute("DELETE FROM usage_ledger WHERE id = $1", row)


async def test_without_redis_the_ledger_says_what_was_spent(run_api: Any, services: Any) -> None:
    nobody = "redis://127.0.0.1:1"
    async with run_api(redis_url=nobody) as api:
        made = await add(api.client, scope="agent", subject="a1")
        assert (made["spent_usd"], made["reserved_usd"], made["remaining_usd"]) == ("0", None, "10")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount_usd": -1}, "amount_usd"),
        ({"amount_usd": "0.0000000001"}, "amount_usd"),
        ({"amount_usd": 1e-10}, "amount_usd"),
        ({"amount_usd": "9000000.01"}, "amount_usd"),
        ({"amount_usd": "NaN"}, "amount_usd"),
        ({"amount_usd": "much"}, "amount_usd"),
        ({"amount_usd": True}, "amount_usd"),
        ({"amount_usd": None}, "amount_usd"),
        ({"period": "week"}, "period"),
        ({"mode": "soft"}, "mode"),
        ({"scope": "planet", "subject": "earth"}, "scope"),
        ({"scope": "user"}, "subject"),
        ({"scope": "agent", "subject": "a\u0000b"}, "subject"),
        ({"scope": "agent", "subject": ""}, "subject"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_field_is_named(api: Any, fields: Any, field: str) -> None:
    response = await api.client.post("/api/budgets", json={"amount_usd": 1, **fields})
    assert response.status_code == 400, response.text
    assert list(response.json()["error"]["details"]) == [field]
    assert (await api.client.get("/api/budgets")).json()["budgets"] == []


async def test_subjects_are_of_the_own_tenant(api: Any, member: Any, stranger: Any) -> None:
    for scope, subject in (
        ("user", str(stranger.user_id)),
        ("key", str(stranger.key_id)),
        ("user", str(uuid7())),
        ("user", "nonsense"),
        ("tenant", "elsewhere"),
    ):
        response = await api.client.post("/api/budgets", json={"amount_usd": 1, "scope": scope, "subject": subject})
        assert response.status_code == 404, response.text
        assert list(response.json()["error"]["details"]) == ["subject"]
    await add(api.client, scope="user", subject=str(member.user_id).upper())
    await add(api.client, scope="key", subject=str(member.key_id))


async def test_one_budget_for_a_subject_and_period(api: Any) -> None:
    await add(api.client)
    day = await add(api.client, period="day")
    response = await api.client.post("/api/budgets", json={"amount_usd": 1})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "CONFLICT")
    response = await api.client.put(f"/api/budgets/{day['id']}", json={"amount_usd": 1, "period": "month"})
    assert response.status_code == 409


async def test_only_administrators_change_and_others_see_their_own(api: Any, member: Any) -> None:
    tenants = await add(api.client)
    own = await add(api.client, scope="user", subject=str(member.user_id))
    key = await add(api.client, scope="key", subject=str(member.key_id))
    seen = (await member.client.get("/api/budgets")).json()["budgets"]
    assert [budget["id"] for budget in seen] == [own["id"], key["id"]]
    assert (await member.client.get(f"/api/budgets/{tenants['id']}")).status_code == 404
    terms = {"amount_usd": 1}
    for response in (
        await member.client.post("/api/budgets", json=terms),
        await member.client.put(f"/api/budgets/{own['id']}", json=terms),
        await member.client.delete(f"/api/budgets/{own['id']}"),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (403, "PERMISSION_DENIED")


async def test_a_foreign_budget_is_not_found(api: Any, stranger: Any) -> None:
    made = await add(api.client)
    path = f"/api/budgets/{made['id']}"
    assert (await stranger.client.get("/api/budgets")).json()["budgets"] == []
    for response in (
        await stranger.client.get(path),
        await stranger.client.put(path, json={"amount_usd": 1}),
        await stranger.client.delete(path),
        await api.client.get("/api/budgets/nonsense"),
        await api.client.get("/api/budgets/%00"),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_lists_are_paged(api: Any) -> None:
    made = [(await add(api.client, scope="agent", subject=f"a{number}"))["id"] for number in range(5)]
    first = (await api.client.get("/api/budgets", params={"limit": 3})).json()
    second = (await api.client.get("/api/budgets", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [budget["id"] for budget in first["budgets"] + second["budgets"]] == made
    assert second["next_cursor"] is None
    assert (await api.client.get("/api/budgets", params={"cursor": "x"})).status_code == 400


async def test_limits_are_made_read_changed_and_deleted(api: Any, member: Any) -> None:
    response = await api.client.post("/api/limits", json={"requests_per_minute": 60, "concurrency": 5})
    assert response.status_code == 201, response.text
    made = response.json()
    assert (made["scope"], made["requests_per_minute"], made["tokens_per_minute"]) == ("tenant", 60, None)
    path = f"/api/limits/{made['id']}"
    assert (await api.client.get(path)).json() == made
    assert (await member.client.get(path)).status_code == 404
    assert (await member.client.put(path, json={"concurrency": 1})).status_code == 403
    changed = (await api.client.put(path, json={"tokens_per_minute": 9000})).json()
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (None, 9000)
    assert len((await api.client.get("/api/limits")).json()["limits"]) == 1
    assert (await api.client.post("/api/limits", json={"concurrency": 5})).status_code == 409
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": "many"}, "tokens_per_minute"),
        ({"concurrency": 3_000_000_000}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 1, "scope": "key"}, "subject"),
    ],
)
async def test_a_wrong_limit_names_its_field(api: Any, fields: Any, field: str) -> None:
    response = await api.client.post("/api/limits", json=fields)
    assert response.status_code == 400, response.text
    assert list(response.json()["error"]["details"]) == [field]
