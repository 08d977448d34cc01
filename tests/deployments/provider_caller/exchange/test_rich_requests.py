"""Tools, schemas and cached prompts are accounted like any other request, also where the answer breaks off."""

import asyncio
from typing import Any

import pytest

from tests.deployments.provider_caller.exchange.conftest import Desk, billed, recorded, request_to
from tests.simulated import MODELS

SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}, "length": {"type": "integer"}},
    "required": ["river", "length"],
    "additionalProperties": False,
}
LONG = "The river carries the water to the sea. " * 130
"""More than the shortest prompt that providers cache."""


def with_tools(dialect: str) -> dict[str, Any]:
    tools = []
    for name in ("find_river", "measure"):
        if dialect == "openai_chat":
            tools.append({"type": "function", "function": {"name": name, "parameters": SCHEMA}})
        elif dialect == "openai_responses":
            tools.append({"type": "function", "name": name, "parameters": SCHEMA, "strict": False})
        else:
            tools.append({"name": name, "input_schema": SCHEMA})
    return {"tools": tools}


def with_schema(dialect: str) -> dict[str, Any]:
    if dialect == "openai_chat":
        form = {"name": "river", "schema": SCHEMA, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    if dialect == "openai_responses":
        return {"text": {"format": {"type": "json_schema", "name": "river", "schema": SCHEMA, "strict": True}}}
    return {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}


def with_instructions(dialect: str, text: str) -> dict[str, Any]:
    if dialect == "openai_responses":
        return {"instructions": text}
    if dialect == "anthropic_messages":
        return {"system": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}
    return {"messages": [{"role": "system", "content": text}, {"role": "user", "content": "And now?"}]}


def variants(dialect: str) -> dict[str, dict[str, Any]]:
    tools = with_tools(dialect)
    return {
        "tool": {"question": "Which? [[tool]]", **tools},
        "tools": {"question": "Which? [[tools]]", **tools},
        "tools, cut": {"question": "Which? [[tools]] [[cut_mid_event:4]]", **tools},
        "schema": with_schema(dialect),
        "schema, cut": {"question": "Which? [[cut_clean:2]]", **with_schema(dialect)},
        "metadata": {} if dialect == "anthropic_messages" else {"metadata": {"course": "physics"}},
        "beyond ASCII": {"question": "Où va l'eau de la rivière, où va-t-elle? 水はどこへ"},
    }


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages"])
@pytest.mark.parametrize("provider", MODELS)
async def test_whatever_is_asked_for_costs_what_the_provider_bills(desk: Desk, provider: str, dialect: str) -> None:
    async def wrong(name: str, fields: dict[str, Any], stream: bool) -> Any:
        request = request_to(provider, dialect=dialect, stream=stream, **fields)
        answered = await desk.run(request)
        rows, bills = await desk.rows(request), desk.bills(request)
        well = (answered.reply or answered.start) or "cut" in name
        if well and rows and recorded(rows) == billed(bills):
            return None
        return name, stream, recorded(rows), billed(bills), answered

    cases = [(name, fields, stream) for name, fields in variants(dialect).items() for stream in (False, True)]
    found = await asyncio.gather(*(wrong(*case) for case in cases))
    assert [case for case in found if case] == []
    assert desk.simulated.counts()["invalid_examples"] == []


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages"])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "google"])
async def test_a_prompt_that_the_provider_has_cached_costs_less(desk: Desk, provider: str, dialect: str) -> None:
    costs = []
    for stream in (False, True, False):
        request = request_to(
            provider, dialect=dialect, stream=stream, **with_instructions(dialect, f"{provider} {dialect} {LONG}")
        )
        await desk.run(request)
        rows, bills = await desk.rows(request), desk.bills(request)
        assert recorded(rows) == billed(bills)
        costs.append(rows[0]["cost_nano"])
    if provider == "anthropic" and dialect != "anthropic_messages":
        assert not rows[0]["cached_tokens"]  # It caches only what is marked, and no other dialect has marks.
        return
    assert rows[0]["cached_tokens"] >= 1024
    assert costs[0] > costs[1] == costs[2]


async def test_a_cut_stream_keeps_what_had_been_stated_of_the_cache(desk: Desk) -> None:
    fields = with_instructions("anthropic_messages", f"cut {LONG}")
    for fault, expected in (("cut_clean:2", (0, 1301)), ("cut_clean:2", (1301, 0))):
        request = request_to(
            "anthropic", dialect="anthropic_messages", question=f"So? [[{fault}]]", stream=True, **fields
        )
        await desk.run(request)
        rows = await desk.rows(request)
        assert recorded(rows) == billed(desk.bills(request))
        assert (rows[0]["cached_tokens"], rows[0]["cache_write_tokens"]) == expected
        assert rows[0]["estimated"]
