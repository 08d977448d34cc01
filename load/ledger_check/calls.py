"""The calls: every provider on every surface, streamed and whole, with all that changes what a call costs.

The same seed gives the same calls. What goes wrong with them is the simulator's doing (`FAULTS`).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

MODELS = (
    "openai/gpt-4o-mini",
    "openai/gpt-6-luna",
    "anthropic/claude-haiku-5-5",
    "groq/openai/gpt-oss-20b",
    "google/gemini-3.5-flash-lite",
    "perplexity/sonar",
    "auto",
)
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
KINDS = {"plain": 50, "tools": 14, "schema": 8, "cached": 14, "short": 8, "several": 3, "unknown": 1, "leaves": 2}
"""Of a hundred calls."""
FAULTS = {
    "429": 0.012,
    "429_retry_after:0.1": 0.004,
    "500": 0.02,
    "503": 0.012,
    "529": 0.006,
    "html": 0.006,
    "empty": 0.006,
    "refuse": 0.008,
    "error_200": 0.008,
    "context_length": 0.003,
    "bad_tool_schema": 0.003,
    "unknown_model": 0.003,
    "stall_before": 0.001,
    "stall_first": 0.001,
    "stall_mid:5": 0.002,
    "slow_bytes:1": 0.0005,
    "cut_mid_event:4": 0.01,
    "cut_clean:6": 0.008,
    "garbled:2": 0.006,
    "error_mid:3": 0.006,
    "missing_done": 0.008,
    "duplicate_usage": 0.008,
}
"""Shares of all attempts."""
PREFIXES = 12
"""Long prompts that calls share, so that providers have them in their caches."""
_WORDS = ("where", "does", "the", "water", "go", "in", "spring", "when", "snow", "melts", "été", "größe", "水")
_SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}, "metres": {"type": "integer"}},
    "required": ["river", "metres"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """leaves_after: bytes of the answer after which the client closes its connection; None: it stays."""

    request_id: str
    path: str
    body: bytes
    stream: bool
    leaves_after: int | None = None


def planned_calls(count: int, seed: int) -> Iterator[PlannedCall]:
    """So many, always the same ones for a seed."""
    draw = random.Random(seed)
    kinds, weights = list(KINDS), list(KINDS.values())
    for number in range(count):
        kind = draw.choices(kinds, weights)[0]
        surface, stream = draw.choice(list(PATHS)), draw.random() < 0.5
        body = _body(draw, number, surface, kind, stream)
        leaves_after = draw.choice((1, 400, 1200)) if kind == "leaves" else None
        yield PlannedCall(f"check-{seed}-{number}", PATHS[surface], orjson.dumps(body), stream, leaves_after)


def _body(draw: random.Random, number: int, surface: str, kind: str, stream: bool) -> dict[str, Any]:
    question = f"{number}: {' '.join(draw.choices(_WORDS, k=draw.randint(2, 60)))}"
    if kind == "tools":
        question += draw.choice((" [[tool]]", " [[tools]]"))
    elif kind != "schema" and draw.random() < 0.3:
        question += f" [[tokens:{draw.randint(1, 90)}]]"
    instructions = _prefix(draw) if kind == "cached" else None
    model = "openai/gpt-4o-mini" if kind == "several" else draw.choice(MODELS)
    body: dict[str, Any] = {"model": "openai/no-such-model" if kind == "unknown" else model}
    body |= _conversation(draw, surface, question, instructions)
    body |= {"stream": True} if stream else {}
    if kind == "tools":
        body["tools"] = [_tool(surface, name) for name in ("find_river", "measure")]
    elif kind == "schema":
        body |= _format(surface)
    elif kind == "several" and surface == "chat":
        body["n"] = draw.randint(2, 3)
    if surface == "messages":
        body["max_tokens"] = draw.randint(2, 9) if kind == "short" else 200
    elif kind == "short":
        body["max_output_tokens" if surface == "responses" else "max_completion_tokens"] = draw.randint(16, 24)
    if surface == "chat" and stream and draw.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    return body


def _prefix(draw: random.Random) -> str:
    return f"Rules of book {draw.randrange(PREFIXES)}. " + "Name the river, then its length in metres. " * 130


def _conversation(draw: random.Random, surface: str, question: str, instructions: str | None) -> dict[str, Any]:
    if surface == "responses":
        return {"input": question, **({"instructions": instructions} if instructions else {})}
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    if draw.random() < 0.2:
        before = [{"role": "user", "content": "And before that?"}, {"role": "assistant", "content": "Ice, mostly."}]
        messages = before + messages
    if instructions is None:
        return {"messages": messages}
    if surface == "chat":
        return {"messages": [{"role": "system", "content": instructions}, *messages]}
    mark = {"type": "ephemeral", **({"ttl": "1h"} if draw.random() < 0.5 else {})}
    return {"messages": messages, "system": [{"type": "text", "text": instructions, "cache_control": mark}]}


def _tool(surface: str, name: str) -> dict[str, Any]:
    if surface == "messages":
        return {"name": name, "description": "Looks it up.", "input_schema": _SCHEMA}
    function = {"name": name, "description": "Looks it up.", "parameters": _SCHEMA}
    if surface == "responses":
        return {"type": "function", "strict": False, **function}
    return {"type": "function", "function": function}


def _format(surface: str) -> dict[str, Any]:
    named = {"name": "river", "schema": _SCHEMA, "strict": True}
    if surface == "chat":
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if surface == "responses":
        return {"text": {"format": {"type": "json_schema", **named}}}
    return {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}}
