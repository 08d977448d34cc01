import json

import openai
import pytest

from tests.load.simulator.conftest import ANSWER_TOKENS, HELLO, HELLO_TOKENS, bill, charged, named

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["pupil", "teacher"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}


async def test_a_whole_answer_has_the_tokens_that_it_says(openai_client):
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert len(answer.choices[0].message.content) == 4 * ANSWER_TOKENS
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (HELLO_TOKENS, ANSWER_TOKENS)


async def test_the_same_prompt_gets_the_same_answer_and_a_stream_says_it_too(openai_client):
    create = openai_client.chat.completions.create
    whole = (await create(model="gpt-4o", messages=HELLO)).choices[0].message.content
    chunks = [chunk async for chunk in await create(model="gpt-4o", messages=HELLO, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    other = [{"role": "user", "content": "another question"}]
    assert (await create(model="gpt-4o", messages=other)).choices[0].message.content != whole


async def test_a_stream_states_its_usage_when_asked(openai_client):
    stream = await openai_client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == HELLO_TOKENS + ANSWER_TOKENS
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_texts_of_all_messages_and_parts_count_and_images_do_not(openai_client):
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
    ]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": content},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}},
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "süß"},
    ]  # fmt: skip
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.usage.prompt_tokens == -(-(8 + 13 + 5) // 4)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_cuts_the_answer(openai_client, field):
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO, **{field: 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


async def test_a_stop_word_ends_the_answer_before_it(openai_client):
    create = openai_client.chat.completions.create
    whole = (await create(model="gpt-4o", messages=HELLO)).choices[0].message.content
    word = whole.split()[4]
    cut = await create(model="gpt-4o", messages=HELLO, stop=[word])
    assert cut.choices[0].message.content == whole[: whole.index(word)]
    assert cut.choices[0].finish_reason == "stop"


async def test_several_choices_differ_and_all_count(openai_client):
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO, n=3)
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage.completion_tokens == 3 * ANSWER_TOKENS


async def test_log_probabilities_cover_every_token(openai_client):
    create = openai_client.chat.completions.create
    answer = await create(model="gpt-4o", messages=HELLO, logprobs=True, top_logprobs=1)
    content = answer.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == answer.choices[0].message.content
    chunks = [chunk async for chunk in await create(model="gpt-4o", messages=HELLO, logprobs=True, stream=True)]
    assert sum(len(c.choices[0].logprobs.content) for c in chunks if c.choices[0].logprobs) == ANSWER_TOKENS


async def test_a_forced_tool_is_called_with_arguments_of_its_schema(openai_client):
    answer = await openai_client.chat.completions.create(
        model="gpt-4o", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "water", "days": 7}
    assert answer.usage.completion_tokens == len(call.function.arguments) / 4


async def test_tool_arguments_are_streamed_in_pieces(openai_client):
    ask = [{"role": "user", "content": "weather? [[tool]]"}]
    stream = await openai_client.chat.completions.create(model="gpt-4o", messages=ask, tools=[WEATHER], stream=True)
    calls = [part.delta.tool_calls[0] for c in [c async for c in stream] for part in c.choices if part.delta.tool_calls]
    assert calls[0].function.name == "weather"
    assert len(calls) > 4
    assert json.loads("".join(call.function.arguments for call in calls)) == {"city": "water", "days": 7}


async def test_after_a_tool_result_the_model_answers_in_words(openai_client):
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "weather? [[tool]]"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content


async def test_a_json_schema_is_met(openai_client):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"name": "water", "kind": "pupil"}


async def test_a_long_prefix_is_cached_the_second_time(openai_client, sim, request_id):
    messages = [{"role": "system", "content": "x" * 6000}, {"role": "user", "content": "first"}]
    create = openai_client.chat.completions.create
    first = await create(model="gpt-4o", messages=messages)
    messages[1]["content"] = "second"
    second = await create(model="gpt-4o", messages=messages, extra_headers=named(request_id))
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens == 1408  # the last whole 128 tokens of 1500
    assert charged(bill(sim, request_id)) == (1502, 1408, 0, ANSWER_TOKENS)


async def test_hidden_reasoning_is_counted_as_output(openai_client):
    answer = await openai_client.chat.completions.create(model="gpt-6.1-sol", messages=HELLO)
    details = answer.usage.completion_tokens_details
    assert answer.usage.completion_tokens == ANSWER_TOKENS + details.reasoning_tokens
    assert details.reasoning_tokens > 0


async def test_a_response_whole_and_streamed(openai_client):
    create = openai_client.responses.create
    whole = await create(model="gpt-4o", input="hello there, wheel")
    assert len(whole.output_text) == 4 * ANSWER_TOKENS
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (HELLO_TOKENS, ANSWER_TOKENS)
    events = [event async for event in await create(model="gpt-4o", input="hello there, wheel", stream=True)]
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"
    ]  # fmt: skip
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.usage == whole.usage


async def test_a_response_that_is_cut_is_incomplete(openai_client):
    events = [e async for e in await openai_client.responses.create(
        model="gpt-4o", input="hi", max_output_tokens=2, stream=True
    )]  # fmt: skip
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


async def test_a_response_calls_a_function_and_takes_its_result(openai_client):
    create = openai_client.responses.create
    tool = {"type": "function", "name": "weather", "strict": True, "parameters": WEATHER["function"]["parameters"]}
    events = [e async for e in await create(
        model="gpt-4o", input="weather?", tools=[tool], tool_choice="required", stream=True
    )]  # fmt: skip
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == done.arguments
    assert json.loads(done.arguments) == {"city": "water", "days": 7}
    item = events[-1].response.output[0]
    follow_up = [
        {"role": "user", "content": "weather? [[tool]]"},
        {"type": "function_call", "call_id": item.call_id, "name": item.name, "arguments": item.arguments},
        {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"},
    ]
    assert (await create(model="gpt-4o", input=follow_up, tools=[tool])).output_text


async def test_a_response_with_reasoning_has_its_item_first(openai_client):
    answer = await openai_client.responses.create(model="gpt-6.1-sol", input="hi")
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.usage.output_tokens_details.reasoning_tokens > 0


async def test_embeddings_are_unit_vectors_of_the_text(openai_client):
    create = openai_client.embeddings.create
    answer = await create(model="text-embedding-3-small", input=["a", "b", "a"], encoding_format="float")
    first, second, again = answer.data
    assert sum(value * value for value in first.embedding) == pytest.approx(1, abs=1e-5)
    assert first.embedding == again.embedding != second.embedding
    assert answer.usage.prompt_tokens == 1


async def test_embeddings_as_base64_are_the_same_as_floats(openai_client, sim):
    asked = {"model": "text-embedding-3-small", "input": "a", "dimensions": 8}
    # Strictly judged, OpenAI's client would refuse the base64 that it asks for by default.
    async with openai.AsyncOpenAI(base_url=sim.base_url("openai"), api_key="any") as client:
        packed = (await client.embeddings.create(**asked)).data[0].embedding
    floats = (await openai_client.embeddings.create(**asked, encoding_format="float")).data[0].embedding
    assert packed == pytest.approx(floats, abs=1e-6)
    assert len(packed) == 8


async def test_models_are_listed(openai_client):
    assert "gpt-4o" in [model.id async for model in openai_client.models.list()]
