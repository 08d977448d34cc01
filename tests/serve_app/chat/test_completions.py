import asyncio
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from deployments.retriever.store import tenant_database


async def test_a_named_model_answers_with_the_providers_bytes(api: Any) -> None:
    response = await api.chat("echo", temperature=1, seed=3, made_up_field={"a": 1})
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "You asked: What is water?"
    assert response.headers["x-penstock-provider"] == "mock"
    assert response.headers["x-penstock-model"] == "echo"
    assert response.headers["x-penstock-cache"] == "off"
    assert response.headers["x-penstock-cost-usd"] == "0.000002500"
    assert response.headers["x-penstock-route-reason"]
    assert response.headers["x-request-id"].startswith("req_")
    assert b'"made_up_field":{"a":1}' in api.provider.seen[0].body


async def test_the_request_body_goes_on_byte_for_byte(api: Any) -> None:
    body = b'{ "model":"echo", "temperature":1,\n "messages":[{"role":"user","content":"hi"}] }'
    await api.client.post("/v1/chat/completions", content=body)
    assert api.provider.seen[0].body == body


async def test_the_penstock_field_is_taken_out_of_the_body(api: Any) -> None:
    await api.chat("mock/org/echo", temperature=1, penstock={"cache": False})
    sent = orjson.loads(api.provider.seen[0].body)
    assert api.provider.seen[0].targets[0][1] == "org/echo"
    assert "penstock" not in sent


async def test_the_official_client_works(api: Any) -> None:
    async with AsyncOpenAI(api_key=api.key, base_url=f"{api.url}/v1", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Hello"}]
        answer = await client.chat.completions.create(model="echo", messages=messages)
        assert answer.choices[0].message.content == "You asked: Hello"
        stream = await client.chat.completions.create(model="echo", messages=messages, stream=True)
        text = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert text[:3] == ["one ", "two ", "three"]
        with pytest.raises(NotFoundError, match="Available: auto"):
            await client.chat.completions.create(model="nothing", messages=messages)
        with pytest.raises(BadRequestError, match=r"messages\[0\]\.role"):
            await client.chat.completions.create(model="echo", messages=[{"role": "robot", "content": "x"}])  # type: ignore[list-item]


async def test_an_unknown_model_is_a_404_that_lists_the_models(api: Any) -> None:
    response = await api.chat("gpt-99")
    assert response.status_code == 404
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")
    assert "echo" in error["message"]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("down", 503, "unavailable"), ("refuses", 400, "upstream_refused"), ("limited", 429, "rate_limit_exceeded")],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_providers_failure_keeps_its_status(api: Any, model: str, status: int, code: str, stream: bool) -> None:
    response = await api.chat(model, stream=stream)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 3


async def test_the_same_question_is_answered_from_the_cache(api: Any) -> None:
    question = f"What is {api.collection}?"
    first = await api.chat(question=question, temperature=0)
    again = await _until_hit(api, question=question, temperature=0)
    assert first.headers["x-penstock-cache"] == "miss"
    assert again.content == first.content
    assert again.headers["x-penstock-model"] == "echo"
    assert float(again.headers["x-penstock-cost-usd"]) == 0
    assert len(api.provider.seen) == 1
    other = await api.chat(question=question, temperature=0, max_tokens=7)
    assert other.headers["x-penstock-cache"] == "miss"


async def test_a_stream_is_stored_and_replayed_whole_or_as_a_stream(api: Any) -> None:
    question = f"What is {api.collection}?"
    await api.chat(question=question, temperature=0, stream=True)
    whole = await _until_hit(api, question=question, temperature=0)
    assert whole.json()["choices"][0]["message"]["content"] == "one two three"
    assert whole.json()["usage"]["completion_tokens"] > 0
    streamed = await api.chat(question=question, temperature=0, stream=True)
    assert streamed.headers["x-penstock-cache"] == "hit"
    assert "one two three" in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")


async def test_a_caller_can_do_without_the_cache(api: Any) -> None:
    question = f"What is {api.collection}?"
    for _ in range(2):
        response = await api.chat(question=question, temperature=0, penstock={"cache": False})
        assert response.headers["x-penstock-cache"] == "off"
    assert len(api.provider.seen) == 2


async def test_a_collection_in_the_model_id_grounds_the_answer(api: Any) -> None:
    await api.write("rain.md", "Rain forms when vapour condenses in cold clouds.")
    await api.write("iron.md", "Iron rusts in damp air.", subject="chemistry")
    response = await api.chat(f"echo@{api.collection}", "How does rain form?")
    assert response.status_code == 200, response.text
    request = api.provider.seen[0]
    assert request.targets[0][1] == "echo"
    assert [passage.source for passage in request.passages] == ["rain.md", "iron.md"]
    prompt = orjson.loads(request.body)["messages"]
    assert [message["role"] for message in prompt] == ["system", "user"]
    assert "[1] Rain.Md" in prompt[0]["content"]
    assert "Rain forms when vapour condenses" in prompt[0]["content"]


async def test_the_local_provider_answers_auto_with_a_collection(api: Any) -> None:
    await api.write("rain.md", "Rain forms when vapour condenses in cold clouds.")
    response = await api.chat(f"auto@{api.collection}", "Rain forms when vapour condenses in cold clouds?")
    assert response.headers["x-penstock-provider"] == "local"
    assert response.json()["penstock"].keys() == {"answered", "citations"}


async def test_an_ingestion_makes_cached_answers_of_before_unreachable(api: Any) -> None:
    await api.write("rain.md", "Rain forms in clouds.")
    question = f"How does rain form in {api.collection}?"
    await api.chat(f"echo@{api.collection}", question, temperature=0)
    assert (await _until_hit(api, f"echo@{api.collection}", question, temperature=0)).status_code == 200
    await api.write("rain.md", "Rain forms in clouds that are cold.")
    fresh = await api.chat(f"echo@{api.collection}", question, temperature=0)
    assert fresh.headers["x-penstock-cache"] == "miss"


async def test_a_collection_made_anew_is_not_answered_from_the_old_ones_cache(api: Any) -> None:
    """The new one may reach the same version under the same name."""
    model, question = f"echo@{api.collection}", f"How does rain form in {api.collection}?"
    await api.write("notes.md", "The old notes said one thing.")
    # A question that asks for a fact: small talk is not kept.
    assert (await _until_hit(api, model, question)).status_code == 200
    pool = api.databases.pool(tenant_database("default"))
    await pool.execute("DELETE FROM collections WHERE name = $1", api.collection)
    await api.write("notes.md", "The new notes say another.")
    assert (await api.chat(model, question)).headers["x-penstock-cache"] == "miss"


async def test_the_answer_of_a_fallback_is_given_and_not_kept(api: Any) -> None:
    await api.write("rain.md", "Rain forms when vapour condenses in cold clouds.")
    for _ in range(2):
        response = await api.chat(f"down@{api.collection}", "Rain forms when?", temperature=0)
        assert response.headers["x-penstock-provider"] == "local"
        assert "down failed, so a fallback answers" in response.headers["x-penstock-route-reason"]
        assert response.headers["x-penstock-cache"] == "miss"
        streamed = await api.chat(f"down@{api.collection}", "Rain forms when?", temperature=0, stream=True)
        assert streamed.headers["x-penstock-provider"] == "local"
        assert streamed.text.endswith("data: [DONE]\n\n")


async def test_an_unknown_collection_is_a_404_that_lists_the_collections(api: Any) -> None:
    await api.write("rain.md", "Rain.")
    for temperature in (0, 1):
        response = await api.chat("echo@no-such-collection", temperature=temperature)
        assert response.status_code == 404
        assert api.collection in response.json()["error"]["message"]


async def test_a_mode_chooses_the_policy_of_auto_only(api: Any) -> None:
    response = await api.chat("echo", penstock={"mode": "cost"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "penstock.mode"
    response = await api.chat("auto", penstock={"mode": "cost"})
    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "false"


async def test_a_grounded_request_without_a_question_is_refused(api: Any) -> None:
    body = {"model": "auto@somewhere", "messages": [{"role": "system", "content": "Be brief."}]}
    response = await api.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


async def test_without_retrieval_a_collection_is_not_searched(run_api: Any) -> None:
    async with run_api(rag_enabled=False) as api:
        response = await api.chat("echo@nowhere", temperature=1)
        assert response.status_code == 200
        assert api.provider.seen[0].passages == ()


async def test_a_request_ends_at_its_deadline(run_api: Any) -> None:
    async with run_api(request_timeout=0.2) as api:
        response = await api.chat("slow")
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "deadline_exceeded"


async def _until_hit(api: Any, model: str = "echo", question: str = "", **fields: Any) -> Any:
    """The store happens after the last byte: ask until it shows."""
    for _ in range(100):
        response = await api.chat(model, question, **fields)
        if response.headers["x-penstock-cache"] == "hit":
            return response
        api.provider.seen.pop()
        await asyncio.sleep(0.02)
    raise AssertionError("never stored")


async def test_a_very_long_question_is_searched_by_its_beginning_and_passed_on_whole(run_api: Any) -> None:
    async with run_api() as api:
        await api.write("rain.md", "Rain forms in clouds.")
        question = "rain " * 100_000
        response = await api.chat(f"echo@{api.collection}", question, temperature=1)
        assert response.status_code == 200
        assert max(map(len, api.embedder.texts)) == 20_000
        assert question.encode() in api.provider.seen[0].body
