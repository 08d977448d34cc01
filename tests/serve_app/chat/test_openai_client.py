"""The official OpenAI client in strict validation mode: every field it reads is there and of the promised type."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
FLAT_TOOL: Any = {"type": "function", "strict": False, **TOOL["function"]}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class City(BaseModel):
    city: str


@pytest.fixture
async def client(api: Any) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        api_key=api.key, base_url=f"{api.url}/v1", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def asked(text: str = "Hello") -> Any:
    return [{"role": "user", "content": text}]


# --- chat completions -------------------------------------------------------------------------------------------


async def test_a_completion(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=asked())
    assert answer.choices[0].message.content == "You asked: Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    assert answer._request_id
    assert answer._request_id.startswith("req_")


async def test_a_streamed_completion_with_its_usage_and_cost(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo", messages=asked(), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 5
    assert last.penstock == {"cost_usd": 0.0000025}  # type: ignore[attr-defined]


async def test_a_completion_that_calls_a_tool_whole_and_streamed(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="tool", messages=asked(), tools=[TOOL])
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, orjson.loads(call.function.arguments)) == ("weather", {"city": "Ulm"})
    async with client.chat.completions.stream(model="tool", messages=asked(), tools=[TOOL]) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"


async def test_a_completion_as_a_json_schema_asks(api: Any, client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="json", messages=asked(), response_format=City)
    assert answer.choices[0].message.content is not None
    sent = orjson.loads(api.provider.seen[0].body)
    assert sent["response_format"]["json_schema"]["schema"]["properties"].keys() == {"city"}


async def test_images_and_every_other_field_go_on_as_they_came(api: Any, client: AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    await client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": parts}],
        seed=1,
        stop=["x"],
        logprobs=True,
        top_logprobs=2,
        n=2,
        extra_body={"made_up": 1},
    )
    sent = orjson.loads(api.provider.seen[0].body)
    assert sent["messages"][0]["content"] == parts
    assert (sent["seed"], sent["stop"], sent["logprobs"], sent["n"], sent["made_up"]) == (1, ["x"], True, 2, 1)
    assert api.provider.seen[0].question == "What?"


# --- responses --------------------------------------------------------------------------------------------------


async def test_a_response(api: Any, client: AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(model="echo", input="Hello", instructions="Be brief.")
    answer = raw.parse()
    assert answer.output_text == "You asked: Hello"
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    assert raw.headers["x-penstock-model"] == "echo"
    assert raw.headers["x-penstock-cost-usd"] == "0.000002500"
    assert api.provider.seen[0].dialect == "openai_responses"


async def test_a_streamed_response_ends_with_its_cost(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="echo", input=asked(), stream=True)
    events: list[Any] = [event async for event in stream]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "one two three"
    assert events[-1].type == "response.completed"
    assert events[-1].penstock == {"cost_usd": 0.0000025}
    async with client.responses.stream(model="echo", input="Hello") as helper:
        assert (await helper.get_final_response()).output_text == "one two three"


async def test_a_response_that_calls_a_tool_whole_and_streamed(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model="tool", input="Hello", tools=[FLAT_TOOL])
    [call] = answer.output
    assert call.type == "function_call"
    assert (call.name, orjson.loads(call.arguments)) == ("weather", {"city": "Ulm"})
    async with client.responses.stream(model="tool", input="Hello", tools=[FLAT_TOOL]) as stream:
        final = await stream.get_final_response()
    assert final.output[0].type == "function_call"


async def test_a_response_as_a_json_schema_asks_and_with_an_image(api: Any, client: AsyncOpenAI) -> None:
    parts: Any = [{"type": "input_text", "text": "Where?"}, {"type": "input_image", "image_url": PIXEL}]
    await client.responses.parse(model="json", input=[{"role": "user", "content": parts}], text_format=City)
    sent = orjson.loads(api.provider.seen[0].body)
    assert sent["text"]["format"]["type"] == "json_schema"
    assert sent["input"][0]["content"] == parts
    assert api.provider.seen[0].question == "Where?"


@pytest.mark.parametrize(
    "fields",
    [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_needs_stored_responses_is_refused_by_name(client: AsyncOpenAI, fields: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="echo", input="Hello", **fields)
    assert caught.value.param == next(iter(fields))


async def test_a_stored_response_cannot_be_found(client: AsyncOpenAI) -> None:
    await client.responses.create(model="echo", input="Hello", store=True)
    with pytest.raises(openai.NotFoundError, match="not kept"):
        await client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        await client.responses.delete("resp_1")


# --- both -------------------------------------------------------------------------------------------------------


async def ask(client: AsyncOpenAI, api_name: str, model: str, *, stream: bool = False) -> Any:
    if api_name == "responses":
        return await client.responses.create(model=model, input="Hello", stream=stream)
    return await client.chat.completions.create(model=model, messages=asked(), stream=stream)


both = pytest.mark.parametrize("api_name", ["chat", "responses"])


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("gpt-99", openai.NotFoundError, "model_not_found"),
        ("refuses", openai.BadRequestError, "upstream_refused"),
        ("long", openai.BadRequestError, "context_length_exceeded"),
        ("limited", openai.RateLimitError, "rate_limit_exceeded"),
        ("spent", openai.RateLimitError, "insufficient_quota"),
        ("down", openai.InternalServerError, "unavailable"),
        ("crash", openai.InternalServerError, "internal_error"),
    ],
)
async def test_errors_are_the_clients_own_types(
    client: AsyncOpenAI, api_name: str, model: str, error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        await ask(client, api_name, model, stream=stream)
    assert caught.value.code == code
    assert caught.value.request_id
    if model in ("gpt-99", "refuses", "long", "spent"):
        assert caught.value.response.headers["x-should-retry"] == "false"


@both
@pytest.mark.parametrize("model", ["breaks", "broken", "truncated"])
async def test_a_broken_stream_raises(client: AsyncOpenAI, api_name: str, model: str) -> None:
    stream = await ask(client, api_name, model, stream=True)
    with pytest.raises(openai.APIError, match=r"broke off|before it was complete"):
        async for _ in stream:
            pass


@both
async def test_a_wrong_key_is_an_authentication_error(api: Any, api_name: str) -> None:
    async with AsyncOpenAI(api_key="pst_wrong", base_url=f"{api.url}/v1", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await ask(client, api_name, "echo")


@both
async def test_a_collection_in_the_model_id_grounds_the_answer(api: Any, client: AsyncOpenAI, api_name: str) -> None:
    await api.write("rain.md", "Rain forms when vapour condenses in cold clouds.")
    await ask(client, api_name, f"echo@{api.collection}")
    [request] = api.provider.seen
    assert [passage.source for passage in request.passages] == ["rain.md"]
    sent = orjson.loads(request.body)
    system = sent["instructions"] if api_name == "responses" else sent["messages"][0]["content"]
    assert "[1] Rain.Md" in system


# --- models and embeddings --------------------------------------------------------------------------------------


async def test_models_and_one_model(api: Any, client: AsyncOpenAI) -> None:
    await api.write("rain.md", "Rain.")
    ids = [model.id async for model in client.models.list()]
    assert {"auto", "echo", f"auto@{api.collection}"} <= set(ids)
    assert (await client.models.retrieve(f"echo@{api.collection}")).owned_by == "mock"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-99")


async def test_embeddings(api: Any, client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="all-MiniLM-L6-v2", input=["rain", "snow"], encoding_format="float")
    assert [len(item.embedding) for item in answer.data] == [384, 384]
    # Left to itself the client asks for base64, which its own strict mode cannot read.
    async with AsyncOpenAI(api_key=api.key, base_url=f"{api.url}/v1", max_retries=0) as lenient:
        decoded = await lenient.embeddings.create(model="all-MiniLM-L6-v2", input=["rain", "snow"])
    assert [item.embedding for item in decoded.data] == [item.embedding for item in answer.data]
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="text-embedding-9", input="rain")
