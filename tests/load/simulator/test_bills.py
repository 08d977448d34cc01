"""What the provider would charge, counted by hand."""

import asyncio
import contextlib

import anthropic
import openai
import pytest

from tests.load.simulator.conftest import ANSWER_TOKENS, HELLO, HELLO_TOKENS, bill, charged, eventually, named

SONNET = "claude-sonnet-5-5"


async def drain(stream) -> None:
    async for _ in stream:
        pass


async def test_a_whole_call_is_charged_in_full(openai_client, sim, request_id):
    await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=named(request_id))
    row = bill(sim, request_id)
    assert charged(row) == (HELLO_TOKENS, 0, 0, ANSWER_TOKENS)
    assert (row["provider"], row["model"], row["stream"], row["state"]) == ("openai", "gpt-4o", False, "completed")


@pytest.mark.parametrize(
    ("fault", "output"),
    [("cut_clean:4", 4), ("cut_mid_event:4", 4), ("error_mid:4", 4), ("garbled:4", 4), ("missing_done", 20)],
)
async def test_a_stream_that_breaks_is_charged_for_its_prompt_and_what_it_had_sent(
    openai_client, sim, request_id, fault, output
):
    stream = await openai_client.chat.completions.create(
        model=f"gpt-4o!{fault}", messages=HELLO, stream=True, extra_headers=named(request_id)
    )
    with contextlib.suppress(openai.APIError, ValueError):
        await drain(stream)
    assert charged(bill(sim, request_id)) == (HELLO_TOKENS, 0, 0, output)


@pytest.mark.parametrize(
    ("fault", "prompt"), [("error_200", 0), ("html", 0), ("503", 0), ("refuse", 0), ("empty", HELLO_TOKENS)]
)
async def test_a_stream_that_states_an_error_costs_nothing_and_one_that_brings_nothing_its_prompt(
    openai_client, sim, request_id, fault, prompt
):
    with contextlib.suppress(openai.APIError):
        await drain(
            await openai_client.chat.completions.create(
                model=f"gpt-4o!{fault}", messages=HELLO, stream=True, extra_headers=named(request_id)
            )
        )
    assert charged(bill(sim, request_id)) == (prompt, 0, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["stall_before", "stall_first"])
async def test_a_silent_provider_has_taken_the_prompt(openai_client, sim, request_id, fault, stream):
    async def call() -> None:
        opened = await openai_client.chat.completions.create(
            model=f"gpt-4o!{fault}", messages=HELLO, stream=stream, extra_headers=named(request_id)
        )
        await drain(opened)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(), 0.2)
    assert charged(bill(sim, request_id)) == (HELLO_TOKENS, 0, 0, 0)


async def test_what_was_cached_counts_in_a_broken_stream_where_it_had_been_stated(anthropic_client, sim, request_id):
    system = [{"type": "text", "text": "z" * 8000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    stream = await anthropic_client.messages.create(
        model=f"{SONNET}!cut_clean:2", max_tokens=50, system=system, messages=HELLO, stream=True,
        extra_headers=named(request_id),
    )  # fmt: skip
    events = [event async for event in stream]
    assert events[0].message.usage.cache_creation.ephemeral_1h_input_tokens == 2000
    assert charged(bill(sim, request_id)) == (2005, 0, 2000, 2)


@pytest.mark.parametrize(
    ("fault", "prompt"),
    [("529", 0), ("refuse", 0), ("empty", HELLO_TOKENS), ("garbled", HELLO_TOKENS), ("cut_mid_event", HELLO_TOKENS)],
)
async def test_a_whole_answer_that_did_not_arrive_costs_its_prompt_unless_it_states_an_error(
    anthropic_client, sim, request_id, fault, prompt
):
    with pytest.raises((anthropic.APIError, ValueError)):
        await anthropic_client.messages.create(
            model=f"{SONNET}!{fault}", max_tokens=50, messages=HELLO, extra_headers=named(request_id)
        )
    assert charged(bill(sim, request_id)) == (prompt, 0, 0, 0)


async def test_a_client_that_leaves_pays_for_what_was_sent(openai_client, sim, request_id):
    stream = await openai_client.chat.completions.create(
        model="gpt-4o!stall_mid:6", messages=HELLO, stream=True, extra_headers=named(request_id)
    )
    received = 0
    async for chunk in stream:
        received += bool(chunk.choices[0].delta.content)
        if received == 6:
            break
    assert sim.counts()["streams_open"] >= 1
    await stream.close()
    row = bill(sim, request_id)
    assert (row["state"], charged(row)) == ("cancelled", (HELLO_TOKENS, 0, 0, 6))
    cancelled = eventually(lambda: [one for one in sim.counts()["cancelled"] if one["request_id"] == request_id])
    assert cancelled[0]["at_ms"] > 1_700_000_000_000


async def test_the_sums_are_those_of_the_bills(openai_client, sim):
    model = "gpt-of-this-test"
    create = openai_client.chat.completions.create
    await create(model=model, messages=HELLO)
    await drain(await create(model=model, messages=HELLO, stream=True))
    with pytest.raises(openai.InternalServerError):
        await create(model=f"{model}!500", messages=HELLO)
    tally = sim.counts()["providers"]["openai"][model]
    assert (tally["requests"], tally["completed"], tally["refused"], tally["faults"]) == (3, 2, 1, {"500": 1})
    assert (tally["streams_started"], tally["streams_completed"]) == (1, 1)
    rows = [row for row in sim.bills() if row["model"] == model]
    assert tally["bill"]["input_tokens"] == sum(row["input"] for row in rows) == 2 * HELLO_TOKENS
    assert tally["bill"]["output_tokens"] == sum(row["output"] for row in rows) == 2 * ANSWER_TOKENS


async def test_a_bill_says_what_is_kept_for_an_hour_and_what_the_answer_says_it_costs(
    anthropic_client, sim, request_id
):
    system = [{"type": "text", "text": request_id * 250, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    await anthropic_client.messages.create(
        model=SONNET, max_tokens=50, system=system, messages=HELLO, extra_headers=named(request_id)
    )
    row = bill(sim, request_id)
    assert (row["cache_write"], row["cache_write_long"], row["cost"]) == (2000, 2000, None)
    async with openai.AsyncOpenAI(base_url=f"{sim.base_url('perplexity')}/v1", api_key="any") as client:
        tools = [{"type": "web_search"}]
        body = {
            "model": "perplexity/sonar",
            "input": "hello",
            "tools": tools,
            "extra_headers": named(f"{request_id}-p"),
        }
        answer = await client.responses.create(**body)
    stated = answer.usage.cost["total_cost"]
    assert bill(sim, f"{request_id}-p")["cost"] == round(stated * 1e9) == 2 * 250 + 20 * 2500 + 2_500_000
