from datetime import UTC, datetime
from typing import Any

import pytest

MONTH = {"from": "2031-03-01", "to": "2031-04-01"}


async def usage(client: Any, **query: Any) -> Any:
    response = await client.get("/api/usage", params={**MONTH, **query})
    assert response.status_code == 200, response.text
    return response.json()


async def test_totals_of_a_period(api: Any, write_row: Any) -> None:
    await write_row(latency_ms=100.0)
    await write_row(latency_ms=300.0, cost_nano=None, outcome="lost", estimated=True)
    await write_row(latency_ms=200.0, cost_nano=1_000_000_000)
    await write_row(started_at=datetime(2031, 4, 1, tzinfo=UTC))
    found = await usage(api.client)
    totals = found["totals"]
    assert (totals["calls"], totals["input_tokens"], totals["cached_tokens"], totals["output_tokens"]) == (
        3,
        300,
        120,
        30,
    )
    assert (totals["cost_usd"], totals["unpriced_calls"], totals["estimated_calls"]) == ("1.0000025", 1, 1)
    assert (totals["latency_p50_ms"], totals["latency_p95_ms"]) == (200, pytest.approx(290))
    assert (found["from"], found["to"]) == ("2031-03-01T00:00:00Z", "2031-04-01T00:00:00Z")


async def test_a_period_without_calls_is_all_zero(api: Any) -> None:
    found = await usage(api.client)
    assert (found["totals"]["calls"], found["totals"]["cost_usd"], found["totals"]["latency_p50_ms"]) == (0, "0", None)


async def test_groups_are_summed_and_paged(api: Any, write_row: Any) -> None:
    for day in (1, 2, 2, 3):
        for model in ("a", "b"):
            await write_row(started_at=datetime(2031, 3, day, 23, 30, tzinfo=UTC), model=model, agent_id=None)
    pages, cursor = [], None
    while True:
        found = await usage(api.client, group_by="day,model", limit=4, **({"cursor": cursor} if cursor else {}))
        pages.append([(*group["group"].values(), group["calls"]) for group in found["groups"]])
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [4, 2]
    assert [group for page in pages for group in page] == [
        (f"2031-03-0{day}", model, 2 if day == 2 else 1) for day in (1, 2, 3) for model in ("a", "b")
    ]
    groups = "model,provider,user,key,agent,operation,outcome"
    everything = await usage(api.client, group_by=groups)
    assert everything["groups"][0]["group"] == dict(
        zip(groups.split(","), ("a", "mock", "u1", "k1", "", "chat", "ok"), strict=True)
    )


async def test_rows_come_newest_first_in_pages(api: Any, write_row: Any) -> None:
    ids = [str(await write_row(started_at=datetime(2031, 3, 5, tzinfo=UTC))) for _ in range(3)]
    ids.append(str(await write_row(cost_nano=None, started_at=datetime(2031, 3, 6, tzinfo=UTC))))
    first = await usage(api.client, detail="true", limit=3)
    second = await usage(api.client, detail="true", limit=3, cursor=first["next_cursor"])
    assert [row["id"] for row in first["rows"] + second["rows"]] == sorted(ids, reverse=True)
    assert (first["rows"][0]["cost_usd"], first["rows"][1]["cost_usd"]) == (None, "0.0000025")
    assert second["next_cursor"] is None


async def test_who_is_no_administrator_sees_only_own_usage(api: Any, member: Any, write_row: Any) -> None:
    await write_row()
    own = await write_row(user_id=str(member.user_id))
    found = await usage(member.client, detail="true")
    assert (found["totals"]["calls"], [row["id"] for row in found["rows"]]) == (1, [str(own)])
    grouped = await usage(member.client, group_by="user")
    assert [group["group"]["user"] for group in grouped["groups"]] == [str(member.user_id)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "colour"}, "group_by[0]"),
        ({"group_by": "day,day"}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2031-04-01", "to": "2031-03-01"}, "to"),
        ({"from": "2000-01-01", "to": "2031-03-01"}, "to"),
        ({"from": "2000-01-01"}, "to"),
        ({"detail": "true", "group_by": "day"}, "detail"),
        ({"limit": 101}, "limit"),
        ({"group_by": "day", "cursor": "AAAA"}, "cursor"),
        ({"group_by": "day", "cursor": "WyJhIiwiYiJd"}, "cursor"),
        ({"group_by": "day", "cursor": "WyJcdTAwMDAiXQ"}, "cursor"),
        ({"detail": "true", "cursor": "WyIyMDMxIiwiYiJd"}, "cursor"),
        ({"detail": "true", "cursor": "\u00e9"}, "cursor"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_query_names_its_field(api: Any, query: Any, field: str) -> None:
    response = await api.client.get("/api/usage", params={**MONTH, **query})
    assert response.status_code == 400, response.text
    assert list(response.json()["error"]["details"]) == [field]


async def test_without_dates_it_is_this_month(api: Any) -> None:
    response = await api.client.get("/api/usage")
    assert response.status_code == 200
    assert response.json()["from"].endswith("-01T00:00:00Z")
