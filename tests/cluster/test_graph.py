"""The graph over real HTTP: every stage takes part, scales on its own, and survives the loss of a replica."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import psutil
import pytest

from load.simulator.process import SimulatorProcess
from tests.cluster.process import MODEL, Platform

STAGES = ("ingress", "router", "embedder", "retriever", "reranker", "provider_caller", "cache")
COUNTER = "penstock_stage_requests_total"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await condition():
            return True
        await asyncio.sleep(0.2)
    return False


async def counts(client: httpx.AsyncClient) -> dict[str, float]:
    """Requests by stage, from the one scrape of the whole cluster."""
    page = (await client.get("/metrics")).text
    totals = dict.fromkeys(STAGES, 0.0)
    for line in page.splitlines():
        if line.startswith(COUNTER + "{"):
            labels, value = line.rsplit(" ", 1)
            totals[labels.split('stage="')[1].split('"')[0]] += float(value)
    return totals


async def test_one_grounded_question_moves_the_counters_of_all_seven_stages(platform: Platform) -> None:
    async with platform.client() as client:
        before = await counts(client)
        body = {"model": "local@curriculum", "messages": [{"role": "user", "content": "Who discovered oxygen?"}]}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        body["model"] = "auto@curriculum"
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200

        async def all_moved() -> bool:
            after = await counts(client)
            return all(after[stage] > before[stage] for stage in STAGES)

        assert await until(all_moved, 20), (before, await counts(client))


async def test_an_answer_quotes_the_lesson_and_names_its_source(platform: Platform) -> None:
    async with platform.client() as client:
        body = {
            "model": "local@curriculum",
            "messages": [{"role": "user", "content": "In what year did Newton's Principia come out?"}],
        }
        answer = (await client.post("/v1/chat/completions", json=body)).json()
    assert "1687" in answer["choices"][0]["message"]["content"]
    assert answer["model"] == "local/extractive"


async def test_search_finds_the_lesson(platform: Platform) -> None:
    async with platform.client() as client:
        found = (
            await client.post(
                "/v1/context/search", json={"query": "electrical resistance", "collection": "curriculum", "k": 3}
            )
        ).json()
    assert any("electric-circuits" in result["source"] for result in found["results"])


async def test_the_embedder_scales_to_two_replicas_under_load_and_back(platform: Platform) -> None:
    texts = ["How does the heart pump blood through the body of a mammal? " * 20] * 16

    async with platform.client(limits=httpx.Limits(max_connections=64)) as client:
        stop = asyncio.Event()

        async def press() -> None:
            while not stop.is_set():
                response = await client.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": texts})
                assert response.status_code in (200, 503), response.text

        load = [asyncio.create_task(press()) for _ in range(48)]

        async def two() -> bool:
            return len(platform.replicas("embedder")) >= 2

        grown = await until(two, 90)
        stop.set()
        await asyncio.gather(*load)
        assert grown

        async def one() -> bool:
            return len(platform.replicas("embedder")) == 1

        assert await until(one, 120)


async def test_killing_an_embedder_replica_under_load_loses_no_request(platform: Platform) -> None:
    async with platform.client() as client:

        async def ask(number: int) -> int:
            response = await client.post(
                "/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": f"question {number}"}
            )
            return response.status_code

        statuses: list[int] = []

        async def press(first: int) -> None:
            for number in range(first, first + 40):
                statuses.append(await ask(number))

        load = [asyncio.create_task(press(1000 * n)) for n in range(8)]
        while len(statuses) < 40:
            await asyncio.sleep(0.01)
        victim = platform.replicas("embedder")[0]
        victim.kill()
        await asyncio.gather(*load)
        assert len(statuses) == 320
        assert set(statuses) == {200}
        gone = psutil.pid_exists(victim.pid) and victim.status() != psutil.STATUS_ZOMBIE
        assert not gone


@pytest.mark.parametrize("way", ["chat", "auto"])
async def test_a_client_that_leaves_ends_the_upstream_call(
    platform: Platform, upstream: SimulatorProcess, way: str
) -> None:
    model = MODEL if way == "chat" else "auto"
    before = upstream.counts()
    async with platform.client() as client:
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Tell me a long story"}]}
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            async for _ in response.aiter_bytes():
                break

    async def cancelled() -> bool:
        now = await asyncio.to_thread(upstream.counts)
        return now["streams_cancelled"] > before["streams_cancelled"] and now["streams_open"] == 0

    assert await until(cancelled, 10), upstream.counts()
