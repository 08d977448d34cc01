import asyncio
from typing import Any

import pytest

from kit.ids import uuid7


@pytest.fixture
def key() -> dict[str, str]:
    return {"idempotency-key": uuid7().hex}


def body(model: str = "echo", question: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": model, "temperature": 1, "messages": [{"role": "user", "content": question}], **fields}


async def post(api: Any, headers: dict[str, str], **fields: Any) -> Any:
    return await api.client.post("/v1/chat/completions", json=body(**fields), headers=headers)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_request_is_done_once_and_its_response_replayed(api: Any, key: Any, stream: bool) -> None:
    first = await post(api, key, stream=stream)
    again = await post(api, key, stream=stream)
    assert again.content == first.content
    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-penstock-model"] == "echo"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert "idempotency-replayed" not in first.headers
    assert len(api.provider.seen) == 1


async def test_the_key_with_another_body_is_a_conflict(api: Any, key: Any) -> None:
    await post(api, key)
    response = await post(api, key, question="something else")
    assert response.status_code == 409
    assert response.headers["x-should-retry"] == "false"
    assert len(api.provider.seen) == 1


async def test_a_duplicate_of_a_running_request_is_a_conflict_to_retry(api: Any, key: Any) -> None:
    running = asyncio.create_task(post(api, key, model="slow"))
    while not api.provider.seen:
        await asyncio.sleep(0.01)
    duplicate = await post(api, key, model="slow")
    assert duplicate.status_code == 409
    assert duplicate.headers["retry-after"] == "1"
    api.provider.gate.set()
    assert (await running).status_code == 200
    assert (await post(api, key, model="slow")).headers["idempotency-replayed"] == "true"
    assert len(api.provider.seen) == 1


@pytest.mark.parametrize(
    ("model", "stream"), [("down", False), ("crash", False), ("breaks", True), ("truncated", True)]
)
async def test_a_failure_frees_the_key(api: Any, key: Any, model: str, stream: bool) -> None:
    for _ in range(2):
        response = await post(api, key, model=model, stream=stream)
        assert "idempotency-replayed" not in response.headers
        assert response.status_code != 409
    assert len(api.provider.seen) == 2


async def test_a_key_that_is_too_long_is_refused(api: Any) -> None:
    response = await post(api, {"idempotency-key": "x" * 256})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Idempotency-Key"


async def test_keys_of_other_paths_do_not_mix(api: Any, key: Any) -> None:
    await post(api, key)
    response = await api.client.post("/v1/context/search", json=body(), headers=key)
    assert response.status_code == 409


async def test_without_redis_the_promise_is_refused_and_everything_else_goes_on(run_api: Any, key: Any) -> None:
    async with run_api(redis_url="redis://127.0.0.1:9/0") as api:
        refused = await post(api, key)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert api.provider.seen == []
        assert (await post(api, {}, temperature=0)).status_code == 200
        assert (await post(api, {}, stream=True)).text.endswith("data: [DONE]\n\n")
