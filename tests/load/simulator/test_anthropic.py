import anthropic
import httpx
import pytest

from tests.load.simulator.conftest import ANSWER_TOKENS, HELLO, HELLO_TOKENS, bill, charged, named

MODEL = "claude-sonnet-5-5"
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


async def test_a_whole_message(anthropic_client):
    message = await anthropic_client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert len(message.content[0].text) == 4 * ANSWER_TOKENS
    assert (message.usage.input_tokens, message.usage.output_tokens) == (HELLO_TOKENS, ANSWER_TOKENS)
    assert message.stop_reason == "end_turn"


async def test_a_stream_says_the_same_in_the_documented_order(anthropic_client):
    create = anthropic_client.messages.create
    whole = await create(model=MODEL, max_tokens=100, messages=HELLO)
    events = [event async for event in await create(model=MODEL, max_tokens=100, messages=HELLO, stream=True)]
    kinds = [event.type for event in events if event.type != "content_block_delta"]
    assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == whole.content[0].text
    assert events[0].message.usage.input_tokens == HELLO_TOKENS
    assert events[-2].usage.output_tokens == ANSWER_TOKENS


async def test_a_limit_and_a_stop_sequence_end_it(anthropic_client):
    create = anthropic_client.messages.create
    cut = await create(model=MODEL, max_tokens=3, messages=HELLO)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    word = cut.content[0].text.split()[2]
    stopped = await create(model=MODEL, max_tokens=100, messages=HELLO, stop_sequences=[word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)


async def test_tools_are_called_whole_and_in_pieces(anthropic_client):
    asked = {"model": MODEL, "max_tokens": 100, "messages": HELLO, "tools": [WEATHER]}
    message = await anthropic_client.messages.create(**asked, tool_choice={"type": "any"})
    assert message.stop_reason == "tool_use"
    assert message.content[0].input == {"city": "water"}
    async with anthropic_client.messages.stream(**asked, tool_choice={"type": "tool", "name": "weather"}) as stream:
        final = await stream.get_final_message()
    assert final.content[0].input == {"city": "water"}
    assert final.usage.output_tokens == message.usage.output_tokens


async def test_images_and_tool_results_are_taken_and_only_texts_count(anthropic_client):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bonn"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny..."}]}
    messages = [
        {"role": "user", "content": [image, {"type": "text", "text": "weather?"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    asked = {"model": MODEL, "system": "be brief", "messages": messages, "tools": [WEATHER]}
    message = await anthropic_client.messages.create(**asked, max_tokens=100)
    assert message.usage.input_tokens == (8 + 8 + 8) // 4
    assert (await anthropic_client.messages.count_tokens(**asked)).input_tokens == 6


async def test_thinking_is_delivered_and_charged(anthropic_client):
    message = await anthropic_client.messages.create(
        model=MODEL, max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.usage.output_tokens == ANSWER_TOKENS + len(message.content[0].thinking) // 4


async def test_a_marked_prefix_is_written_to_the_cache_and_then_read(anthropic_client, sim, request_id):
    system = [{"type": "text", "text": "y" * 8000, "cache_control": {"type": "ephemeral"}}]
    create = anthropic_client.messages.create
    first = await create(model=MODEL, max_tokens=100, system=system, messages=HELLO)
    usage = first.usage
    assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (5, 2000, 0)
    assert usage.cache_creation.ephemeral_5m_input_tokens == 2000
    second = await create(model=MODEL, max_tokens=100, system=system, messages=HELLO, extra_headers=named(request_id))
    usage = second.usage
    assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (5, 0, 2000)
    assert charged(bill(sim, request_id)) == (2005, 2000, 0, ANSWER_TOKENS)


async def test_models_are_listed(anthropic_client):
    assert MODEL in [model.id async for model in anthropic_client.models.list()]


async def test_a_call_without_a_version_is_refused(sim):
    body = {"model": MODEL, "max_tokens": 5, "messages": HELLO}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{sim.base_url('anthropic')}/messages", json=body, headers={"x-api-key": "any"})
    assert answer.status_code == 400
    assert "anthropic-version" in answer.json()["error"]["message"]


async def test_sampling_settings_went_with_the_version_of_october(sim, anthropic_client):
    body = {"model": MODEL, "max_tokens": 5, "messages": HELLO, "temperature": 0.5}
    async with httpx.AsyncClient() as client:
        statuses = []
        for version in ("2026-10-21", "2023-06-01"):
            headers = {"x-api-key": "any", "anthropic-version": version}
            answer = await client.post(f"{sim.base_url('anthropic')}/messages", json=body, headers=headers)
            statuses.append(answer.status_code)
    assert statuses == [400, 200]
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        await anthropic_client.messages.create(
            model=MODEL, max_tokens=5, messages=HELLO, extra_body={"temperature": 0.5}
        )
