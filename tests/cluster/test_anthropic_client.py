"""The official Anthropic client, unmodified and in strict validation mode, against a running platform whose provider
speaks another dialect."""

from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.cluster.process import MODEL, Platform


@pytest.fixture
async def client(platform: Platform) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=platform.url, api_key=platform.key, max_retries=0, _strict_response_validation=True)


def asked(model: str = MODEL, question: str = "hello") -> Any:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": question}]}


async def test_a_message_completes(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asked())
    assert message.content[0].type == "text"
    assert message.content[0].text
    assert message.usage.output_tokens > 0
    assert message._request_id


async def test_a_message_streams_to_a_proper_end(client: AsyncAnthropic) -> None:
    async with client.messages.stream(**asked()) as stream:
        final = await stream.get_final_message()
    assert final.stop_reason in ("end_turn", "max_tokens")
    assert final.content[0].type == "text"
    assert final.usage.output_tokens > 0


async def test_a_message_rests_on_a_collection(client: AsyncAnthropic) -> None:
    question = "Who found that current in a wire is proportional to voltage?"
    message = await client.messages.create(**asked("local@curriculum", question))
    assert message.content[0].type == "text"
    assert "Ohm" in message.content[0].text


async def test_tokens_are_counted(client: AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "x" * 40}])
    assert counted.input_tokens == 10


async def test_models_come_in_pages(client: AsyncAnthropic) -> None:
    ids = {model.id async for model in client.models.list(limit=2)}
    assert {"auto", "auto@curriculum", "local", f"{MODEL}@curriculum"} <= ids


async def test_errors_are_the_clients_own_types(platform: Platform, client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match=MODEL) as unknown:
        await client.messages.create(**asked("claude-nonsense"))
    assert unknown.value.type == "not_found_error"
    stranger = AsyncAnthropic(base_url=platform.url, api_key="pst_wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        await stranger.messages.create(**asked())
