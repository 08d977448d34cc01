"""The official Anthropic client in strict validation mode: every field it reads is there and of the promised type."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic

TOOL: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


@pytest.fixture
async def client(api: Any) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        api_key=api.key, base_url=api.url, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def asked(model: str = "echo", text: Any = "Hello", **fields: Any) -> Any:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}


async def test_a_message(api: Any, client: AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.create(**asked())
    message = await raw.parse()
    assert message.content[0].text == "You asked: Hello"  # type: ignore[union-attr]
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert message.usage.output_tokens == 5
    assert message._request_id == raw.headers["x-request-id"]
    assert raw.headers["x-penstock-provider"] == "mock"
    assert raw.headers["x-penstock-cost-usd"] == "0.000002500"
    assert api.provider.seen[0].dialect == "anthropic_messages"


async def test_a_streamed_message_ends_with_its_cost(client: AsyncAnthropic) -> None:
    events: list[Any] = [event async for event in await client.messages.create(**asked(), stream=True)]
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == "one two three"
    assert events[-1].type == "message_stop"
    assert events[-1].penstock == {"cost_usd": 0.0000025}
    async with client.messages.stream(**asked()) as stream:
        assert await stream.get_final_text() == "one two three"


async def test_a_message_that_calls_a_tool_whole_and_streamed(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asked("tool", tools=[TOOL]))
    [block] = message.content
    assert block.type == "tool_use"
    assert (block.name, block.input, message.stop_reason) == ("weather", {"city": "Ulm"}, "tool_use")
    async with client.messages.stream(**asked("tool", tools=[TOOL])) as stream:
        final = await stream.get_final_message()
    assert final.content[0].input == {"city": "Ulm"}  # type: ignore[union-attr]


async def test_images_system_and_every_other_field_go_on_as_they_came(api: Any, client: AsyncAnthropic) -> None:
    system: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    content = [{"type": "text", "text": "What?"}, IMAGE]
    await client.messages.create(**asked(text=content, system=system, stop_sequences=["x"], extra_body={"made_up": 1}))
    sent = orjson.loads(api.provider.seen[0].body)
    assert sent["messages"][0]["content"] == content
    assert (sent["system"], sent["stop_sequences"], sent["made_up"]) == (system, ["x"], 1)
    assert api.provider.seen[0].question == "What?"


async def test_a_json_schema_goes_on(api: Any, client: AsyncAnthropic) -> None:
    format = {"type": "json_schema", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    message = await client.messages.create(**asked("json", output_config={"format": format}))
    assert orjson.loads(message.content[0].text)  # type: ignore[union-attr]
    assert orjson.loads(api.provider.seen[0].body)["output_config"]["format"] == format


async def test_a_collection_in_the_model_id_grounds_the_answer(api: Any, client: AsyncAnthropic) -> None:
    await api.write("rain.md", "Rain forms when vapour condenses in cold clouds.")
    for system in ("Be brief.", [{"type": "text", "text": "Be brief."}]):
        await client.messages.create(**asked(f"echo@{api.collection}", system=system))
    texts, blocks = (orjson.loads(request.body)["system"] for request in api.provider.seen)
    assert texts.startswith("Be brief.\n\nAnswer the question from the numbered passages")
    assert [block["text"][:15] for block in blocks] == ["Be brief.", "Answer the ques"]
    assert all("[1] Rain.Md" in text for text in (texts, blocks[1]["text"]))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "error", "type"),
    [
        ("claude-99", anthropic.NotFoundError, "not_found_error"),
        ("refuses", anthropic.BadRequestError, "invalid_request_error"),
        ("long", anthropic.BadRequestError, "invalid_request_error"),
        ("limited", anthropic.RateLimitError, "rate_limit_error"),
        ("spent", anthropic.RateLimitError, "rate_limit_error"),
        ("down", anthropic.InternalServerError, "overloaded_error"),
        ("crash", anthropic.InternalServerError, "api_error"),
    ],
)
async def test_errors_are_the_clients_own_types(
    client: AsyncAnthropic, model: str, error: type[anthropic.APIStatusError], type: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        await client.messages.create(**asked(model, stream=stream))
    assert caught.value.type == type
    assert caught.value.request_id
    assert caught.value.body["request_id"] == caught.value.request_id  # type: ignore[index]
    if model in ("claude-99", "refuses", "long", "spent"):
        assert caught.value.response.headers["x-should-retry"] == "false"
    if model == "long":
        assert caught.value.api_message is not None
        assert caught.value.api_message.startswith("prompt is too long: ")


@pytest.mark.parametrize("model", ["breaks", "broken", "truncated"])
async def test_a_broken_stream_raises(client: AsyncAnthropic, model: str) -> None:
    stream = await client.messages.create(**asked(model, stream=True))
    with pytest.raises(anthropic.APIError, match=r"broke off|before it was complete"):
        async for _ in stream:
            pass


async def test_a_wrong_field_is_named(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: must be an integer"):
        await client.messages.create(**asked(max_tokens=-1))
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]\.role"):
        await client.messages.create(model="echo", max_tokens=1, messages=[{"role": "robot", "content": "x"}])  # type: ignore[list-item]


async def test_a_wrong_key_is_an_authentication_error_with_either_header(api: Any) -> None:
    for name in ("api_key", "auth_token"):
        async with AsyncAnthropic(**{name: "pst_wrong"}, base_url=api.url, max_retries=0) as stranger:  # type: ignore[arg-type]
            with pytest.raises(anthropic.AuthenticationError):
                await stranger.messages.create(**asked())
    async with AsyncAnthropic(auth_token=api.key, base_url=api.url) as client:
        assert (await client.messages.create(**asked())).content


async def test_a_body_over_the_limit_is_too_large(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**asked(text="x" * 100_001))
    assert (caught.value.status_code, caught.value.type) == (413, "request_too_large")


async def test_tokens_are_counted_by_the_stated_rule(api: Any, client: AsyncAnthropic) -> None:
    content: Any = [{"type": "text", "text": "x" * 38}]
    plain: Any = {"model": "echo", "system": "12", "messages": [{"role": "user", "content": content}]}
    assert (await client.messages.count_tokens(**plain)).input_tokens == 10
    tools = -(-len(orjson.dumps([TOOL])) // 4)
    assert (await client.messages.count_tokens(**plain, tools=[TOOL])).input_tokens == 10 + tools
    assert api.provider.seen == []
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.count_tokens(**{**plain, "model": "claude-99"})


async def test_models_come_in_pages(api: Any, client: AsyncAnthropic) -> None:
    await api.write("rain.md", "Rain.")
    first = await client.models.list(limit=3)
    assert len(first.data) == 3
    assert (first.has_more, first.first_id, first.last_id) == (True, first.data[0].id, first.data[2].id)
    everything = [model.id async for model in client.models.list(limit=50)]
    assert len(everything) == len(set(everything))
    assert {"auto", "echo", "local", f"auto@{api.collection}"} <= set(everything)
    assert [m.id for m in (await client.models.list(limit=2, after_id=everything[0])).data] == everything[1:3]
    before = await client.models.list(limit=2, before_id=everything[3])
    assert [m.id for m in before.data] == everything[1:3]
    assert before.has_more
    with pytest.raises(anthropic.BadRequestError, match="after_id"):
        await client.models.list(after_id="nothing")
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        await client.models.list(limit=0)


async def test_one_model(client: AsyncAnthropic) -> None:
    model = await client.models.retrieve("org/echo")
    assert (model.id, model.display_name, model.lifecycle) == ("org/echo", "org/echo", "active")
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.models.retrieve("claude-99")
    assert caught.value.type == "not_found_error"
