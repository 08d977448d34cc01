"""Anthropic's messages."""

from collections.abc import Iterator
from typing import Any

import orjson

from load.simulator.generation import SERIAL, Choice, ToolCall
from load.simulator.prompt import DEFAULT_ANSWER, Prompt, content_texts, function_specs
from load.simulator.reply import Event, Reply
from load.simulator.tokens import pieces

_STOP = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tool_calls": "tool_use"}
_SIGNATURE = "c2ltdWxhdGVk"


class AnthropicMessages:
    """`POST /v1/messages`. `input_tokens` of its usage leaves out what the cache read and wrote."""

    kind = "messages"

    def read(self, body: dict[str, Any]) -> Prompt:
        """What a valid body asks for; also of `count_tokens`."""
        messages = body["messages"]
        texts: list[str] = []
        breakpoints: list[tuple[int, str]] = []
        for content in (body.get("system"), *(message.get("content") for message in messages)):
            _collect(content, texts, breakpoints)
        if body.get("cache_control"):
            breakpoints.append((len(texts), body["cache_control"].get("ttl") or "5m"))
        users = [message for message in messages if message.get("role") == "user"]
        last = messages[-1].get("content") if messages else None
        text_format = (body.get("output_config") or {}).get("format")
        return Prompt(
            model=body["model"],
            texts=texts,
            last_user="".join(content_texts(users[-1].get("content"))) if users else "",
            after_tool=isinstance(last, list) and any(part.get("type") == "tool_result" for part in last),
            stream=bool(body.get("stream")),
            include_usage=True,
            max_tokens=body.get("max_tokens", DEFAULT_ANSWER),
            stop=tuple(body.get("stop_sequences") or ()),
            tools=function_specs(body.get("tools")),
            tool_choice=_tool_choice(body.get("tool_choice")),
            schema=None if text_format is None else text_format.get("schema") or {},
            reasons=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive", "between_tools"),
            breakpoints=breakpoints,
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        """A `message`."""
        choice = reply.generation.choices[0]
        content: list[dict[str, Any]] = []
        if reply.generation.reasoning:
            thinking = "".join(reply.generation.reasoning)
            content.append({"type": "thinking", "thinking": thinking, "signature": _SIGNATURE})
        if choice.tool_calls:
            content += [_tool_use(call, _arguments(call)) for call in choice.tool_calls]
        elif choice.tokens:
            content.append({"type": "text", "text": choice.text})
        end = {"stop_reason": _STOP[choice.finish], "stop_sequence": choice.stop_word}
        return _message(reply) | end | {"content": content, "usage": _usage(reply, reply.generation.output_tokens)}

    def events(self, reply: Reply) -> Iterator[Event]:
        """`message_start`, the blocks, `message_delta` with the usage, `message_stop`."""
        start = _message(reply) | {"stop_reason": None, "stop_sequence": None, "content": []}
        # The tokens that are ready when the message starts: one, of whatever length it becomes.
        start["usage"] = _usage(reply, 1)
        yield _event("message_start", {"message": start}, states_input=True)
        choice = reply.generation.choices[0]
        for number, (index, block) in enumerate(_blocks(reply, choice)):
            yield from block
            yield _event("content_block_stop", {"index": index})
            if not number:
                yield _event("ping", {})
        output = reply.generation.output_tokens
        delta = {"stop_reason": _STOP[choice.finish], "stop_sequence": choice.stop_word}
        usage = _usage(reply, output)
        counts = {name: usage[name] for name in ("input_tokens", "output_tokens", *_CACHE_FIELDS)}
        yield _event("message_delta", {"delta": delta, "usage": counts}, states_usage=True)
        yield _event("message_stop", {}, ends=True)

    def cost(self, reply: Reply) -> int | None:
        """Anthropic states none."""
        return None

    def failed(self, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
        """An error body."""
        return error

    def failure(self, reply: Reply, error: dict[str, Any], *, begun: bool) -> Event:
        """The `error` event."""
        return Event(error, name="error")


_CACHE_FIELDS = ("cache_creation_input_tokens", "cache_read_input_tokens")


def _event(kind: str, content: dict[str, Any], *, output: int = 0, **states: bool) -> Event:
    return Event({"type": kind, **content}, name=kind, output=output, **states)


def _blocks(reply: Reply, choice: Choice) -> Iterator[tuple[int, Iterator[Event]]]:
    index = 0
    if reply.generation.reasoning:
        yield index, _thinking(index, reply.generation.reasoning)
        index += 1
    for call in choice.tool_calls:
        yield index, _call(index, call)
        index += 1
    if choice.tokens:
        yield index, _text(index, choice.tokens)


def _text(index: int, tokens: tuple[str, ...]) -> Iterator[Event]:
    yield _event("content_block_start", {"index": index, "content_block": {"type": "text", "text": ""}})
    for token in tokens:
        yield _delta(index, {"type": "text_delta", "text": token}, len(token))


def _thinking(index: int, tokens: tuple[str, ...]) -> Iterator[Event]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    yield _event("content_block_start", {"index": index, "content_block": block})
    for token in tokens:
        yield _delta(index, {"type": "thinking_delta", "thinking": token}, len(token))
    yield _delta(index, {"type": "signature_delta", "signature": _SIGNATURE}, 0)


def _call(index: int, call: ToolCall) -> Iterator[Event]:
    yield _event("content_block_start", {"index": index, "content_block": _tool_use(call, {})})
    for piece in pieces(call.arguments):
        yield _delta(index, {"type": "input_json_delta", "partial_json": piece}, len(piece))


def _delta(index: int, delta: dict[str, Any], output: int) -> Event:
    return _event("content_block_delta", {"index": index, "delta": delta}, output=output)


def _message(reply: Reply) -> dict[str, Any]:
    return {"id": f"msg_{SERIAL}", "type": "message", "role": "assistant", "model": reply.model}


def _tool_use(call: ToolCall, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{SERIAL}{call.index}", "name": call.name, "input": arguments}


def _arguments(call: ToolCall) -> Any:
    """What could be read of them: nothing where they were cut."""
    try:
        return orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {}


def _usage(reply: Reply, output: int) -> dict[str, Any]:
    tokens = reply.input
    hour = tokens.written if tokens.ttl == "1h" else 0
    return {
        "input_tokens": tokens.total - tokens.cached - tokens.written,
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output,
        "service_tier": "standard",
    }


def _collect(content: Any, texts: list[str], breakpoints: list[tuple[int, str]]) -> None:
    """Add the texts of one content, and a mark after each block that has one."""
    if isinstance(content, str):
        texts.append(content)
        return
    for part in content or ():
        texts.extend(content_texts([part]))
        mark = part.get("cache_control")
        if mark:
            breakpoints.append((len(texts), mark.get("ttl") or "5m"))


def _tool_choice(value: Any) -> str:
    kind = (value or {}).get("type", "auto")
    return f"={value['name']}" if kind == "tool" else {"any": "required"}.get(kind, kind)
