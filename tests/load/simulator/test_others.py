"""Groq, Gemini's compatible endpoint, Perplexity and a plain compatible server."""

import httpx
import openai
import pytest
from pydantic import TypeAdapter

from load.simulator.perplexity_types import AgentEvent, AgentResponse
from tests.load.simulator.conftest import ANSWER_TOKENS, HELLO, HELLO_TOKENS

GROQ = "openai/gpt-oss-120b"
KEY = {"Authorization": "Bearer any"}


async def test_groq_shows_its_reasoning_and_says_how_long_it_took(groq_client):
    answer = await groq_client.chat.completions.create(model=GROQ, messages=HELLO)
    message = answer.choices[0].message
    assert answer.usage.completion_tokens == (len(message.content) + len(message.reasoning)) / 4
    assert answer.usage.total_time > 0


async def test_groq_states_the_usage_of_every_stream(groq_client):
    chunks = [c async for c in await groq_client.chat.completions.create(model=GROQ, messages=HELLO, stream=True)]
    assert chunks[-1].x_groq.usage.prompt_tokens == HELLO_TOKENS
    tokens = sum(len((c.choices[0].delta.content or "") + (c.choices[0].delta.reasoning or "")) for c in chunks) / 4
    assert chunks[-1].x_groq.usage.completion_tokens == tokens


async def test_groq_calls_tools(groq_client):
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
    answer = await groq_client.chat.completions.create(
        model="llama-3.3-70b-versatile", messages=HELLO, tools=[tool], tool_choice="required"
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "clock"
    assert GROQ in [model.id for model in (await groq_client.models.list()).data]


async def test_groq_refuses_several_choices(groq_client):
    with pytest.raises(Exception, match="'n'"):
        await groq_client.chat.completions.create(model=GROQ, messages=HELLO, n=2)


async def test_gemini_answers_openais_client(gemini_client):
    create = gemini_client.chat.completions.create
    whole = await create(model="gemini-3.8-flash", messages=HELLO)
    assert whole.usage.completion_tokens == ANSWER_TOKENS
    chunks = [chunk async for chunk in await create(model="gemini-3.8-flash", messages=HELLO, stream=True)]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert "models/gemini-3.8-flash" in [model.id async for model in gemini_client.models.list()]


async def test_gemini_wraps_its_errors_in_a_list_and_refuses_fields_that_it_does_not_know(sim):
    body = {"model": "gemini-3.8-flash", "messages": HELLO, "store": True}
    async with httpx.AsyncClient(headers=KEY) as client:
        answer = await client.post(f"{sim.base_url('gemini')}/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()[0]["error"]["status"] == "INVALID_ARGUMENT"
    assert "store" in answer.json()[0]["error"]["message"]


@pytest.mark.parametrize("path", ["agent", "responses"])
async def test_perplexitys_agent_answers_with_sources_tokens_and_costs(sim, path):
    body = {"model": "perplexity/sonar", "input": "hello there, wheel", "tools": [{"type": "web_search"}]}
    async with httpx.AsyncClient(headers=KEY) as client:
        answer = (await client.post(f"{sim.base_url('perplexity')}/v1/{path}", json=body)).json()
    AgentResponse.model_validate(answer)
    assert [item["type"] for item in answer["output"]] == ["search_results", "message"]
    assert answer["output"][0]["results"][0]["url"].startswith("https://")
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (HELLO_TOKENS, ANSWER_TOKENS)
    assert answer["usage"]["cost"]["total_cost"] > answer["usage"]["cost"]["tool_calls_cost"] > 0


async def test_perplexitys_stream_has_no_event_lines_and_no_done(sim):
    body = {"model": "perplexity/sonar", "input": "hi", "stream": True, "max_output_tokens": 2}
    async with httpx.AsyncClient(headers=KEY) as client:
        text = (await client.post(f"{sim.base_url('perplexity')}/v1/agent", json=body)).text
    lines = [line for line in text.split("\n") if line]
    assert all(line.startswith("data: {") for line in lines)
    events = [TypeAdapter(AgentEvent).validate_json(line.removeprefix("data: ")) for line in lines]
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.usage["output_tokens"] == 2


async def test_openais_client_reads_perplexitys_responses(sim):
    base_url = f"{sim.base_url('perplexity')}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        answer = await client.responses.create(model="perplexity/sonar", input="hi")
        streamed = [e async for e in await client.responses.create(model="perplexity/sonar", input="hi", stream=True)]
    assert answer.output_text == "".join(e.delta for e in streamed if e.type == "response.output_text.delta")


async def test_sonars_own_path_still_answers_with_citations(sim):
    async with httpx.AsyncClient(headers=KEY) as client:
        answer = await client.post(f"{sim.base_url('perplexity')}/v1/sonar", json={"model": "sonar", "messages": HELLO})
    assert len(answer.json()["citations"]) == len(answer.json()["search_results"]) == 2


async def test_a_plain_server_needs_no_key_and_ignores_unknown_fields(sim):
    body = {"model": "mock-model", "messages": HELLO, "min_p": 0.1}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{sim.base_url()}/chat/completions", json=body)
        models = (await client.get(f"{sim.base_url()}/models")).json()
    assert answer.json()["usage"]["completion_tokens"] == ANSWER_TOKENS
    assert [model["id"] for model in models["data"]] == ["mock-model"]
