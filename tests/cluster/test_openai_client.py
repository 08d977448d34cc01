"""The official OpenAI client, unmodified and in strict validation mode, against a running platform."""

import openai
import pytest
from openai import AsyncOpenAI

from tests.cluster.process import MODEL, Platform


@pytest.fixture
async def client(platform: Platform) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=f"{platform.url}/v1", api_key=platform.key, max_retries=0, _strict_response_validation=True
    )


async def test_chat_completes_through_the_compatible_provider(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_chat_streams_to_a_proper_end(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, stream=True, messages=[{"role": "user", "content": "hello"}]
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert any(c.choices and c.choices[0].finish_reason == "stop" for c in chunks)


async def test_a_response_completes_and_streams_over_a_provider_of_chat_completions(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model=MODEL, input="hello", instructions="Be brief.")
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    async with client.responses.stream(model=MODEL, input="hello") as stream:
        final = await stream.get_final_response()
    assert (final.status, bool(final.output_text)) == ("completed", True)


async def test_a_response_rests_on_a_collection(client: AsyncOpenAI) -> None:
    question = "Who found that current in a wire is proportional to voltage?"
    answer = await client.responses.create(model="local@curriculum", input=question)
    assert "Ohm" in answer.output_text


async def test_a_streams_usage_chunk_holds_its_cost_or_none(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        stream=True,
        stream_options={"include_usage": True},
        messages=[{"role": "user", "content": "hello"}],
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


async def test_a_grounded_model_id_answers_from_the_collection(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="local@curriculum",
        stream=True,
        messages=[{"role": "user", "content": "Who found that current in a wire is proportional to voltage?"}],
    )
    text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert "Ohm" in text


async def test_models_list_what_may_be_named(client: AsyncOpenAI) -> None:
    ids = {model.id async for model in client.models.list()}
    assert {"auto", "auto@curriculum", "local"} <= ids
    assert any(MODEL in id for id in ids)


async def test_embeddings_have_the_models_dimension(client: AsyncOpenAI) -> None:
    result = await client.embeddings.create(model="all-MiniLM-L6-v2", input=["one", "two"], encoding_format="float")
    assert [len(item.embedding) for item in result.data] == [384, 384]


async def test_an_unknown_model_is_a_404_that_lists_the_models(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=MODEL):
        await client.chat.completions.create(model="gpt-nonsense", messages=[{"role": "user", "content": "hello"}])


async def test_a_wrong_key_is_a_401(platform: Platform) -> None:
    stranger = AsyncOpenAI(base_url=f"{platform.url}/v1", api_key="pst_wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()
