"""Chat completions, as OpenAI, Groq, Gemini, Perplexity's Sonar and compatible servers each speak them."""

from collections.abc import Iterator
from typing import Any

from load.simulator import search
from load.simulator.generation import SERIAL, Choice, Generation, ToolCall
from load.simulator.prompt import DEFAULT_ANSWER, Prompt, content_texts, function_specs, stop_words
from load.simulator.prompt_cache import InputTokens
from load.simulator.reply import Event, Reply
from load.simulator.tokens import pieces

CREATED = 1_790_000_000
_FINISH = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool_calls": "tool_calls"}


class OpenAIChat:
    """`shows_reasoning`: reasoning is delivered as text (Groq) and not only counted. `details`: usage has its parts.
    `groq`, `sonar`: what only these add."""

    kind = "chat"

    def __init__(
        self, *, details: bool = True, shows_reasoning: bool = False, groq: bool = False, sonar: bool = False
    ) -> None:
        self._details = details
        self._shows_reasoning = shows_reasoning
        self._groq = groq
        self._sonar = sonar

    def read(self, body: dict[str, Any]) -> Prompt:
        """What a valid body asks for."""
        messages = body["messages"]
        texts = [text for message in messages for text in content_texts(message.get("content"))]
        users = [message for message in messages if message.get("role") == "user"]
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        options = body.get("stream_options") or {}
        return Prompt(
            model=body["model"],
            texts=texts,
            last_user="".join(content_texts(users[-1].get("content"))) if users else "",
            after_tool=messages[-1].get("role") == "tool",
            stream=bool(body.get("stream")),
            include_usage=options.get("include_usage", self._sonar) is True,
            max_tokens=DEFAULT_ANSWER if limit is None else limit,
            stop=stop_words(body.get("stop")),
            choices=body.get("n") or 1,
            logprobs=bool(body.get("logprobs")),
            top_logprobs=body.get("top_logprobs") or 0,
            tools=function_specs(body.get("tools")),
            tool_choice=_tool_choice(body.get("tool_choice")),
            schema=_schema(body.get("response_format")),
            searches=self._sonar,
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        """A `chat.completion`."""
        answer = _head(reply, "chat.completion") | {
            "choices": [
                {
                    "index": index,
                    "message": self._message(choice, reply.generation),
                    "logprobs": _logprobs(choice.tokens, reply) if reply.logprobs else None,
                    "finish_reason": _FINISH[choice.finish],
                }
                for index, choice in enumerate(reply.generation.choices)
            ],
            "usage": self._usage(reply),
        }
        return answer | self._additions()

    def events(self, reply: Reply) -> Iterator[Event]:
        """`chat.completion.chunk`s, the usage where it was asked for, `[DONE]`."""
        head = _head(reply, "chat.completion.chunk") | self._additions()
        if reply.include_usage and self._details:
            head["usage"] = None
        choices = reply.generation.choices
        for index in range(len(choices)):
            yield Event(head | {"choices": [_delta(index, {"role": "assistant", "content": ""})]})
        if self._shows_reasoning:
            for token in reply.generation.reasoning:
                yield Event(head | {"choices": [_delta(0, {"reasoning": token})]}, output=len(token))
        for turn in range(max(len(choice.tokens) for choice in choices)):
            for index, choice in enumerate(choices):
                if turn < len(choice.tokens):
                    yield _text_event(head, index, choice.tokens[turn], reply)
        for index, choice in enumerate(choices):
            for call in choice.tool_calls:
                yield from _tool_events(head, index, call)
        for index, choice in enumerate(choices):
            last = index == len(choices) - 1
            chunk = head | {"choices": [_delta(index, {}, _FINISH[choice.finish])]}
            if self._groq and last:
                chunk["x_groq"] = {"id": f"req_{SERIAL}", "usage": self._usage(reply)}
            yield Event(chunk, states_usage=self._groq and last)
        if reply.include_usage:
            yield Event(head | {"choices": [], "usage": self._usage(reply)}, states_usage=True)
        yield Event("[DONE]", ends=True)

    def cost(self, reply: Reply) -> int | None:
        """OpenAI and those like it state none."""
        return None

    def failed(self, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
        """An error body."""
        return error

    def failure(self, reply: Reply, error: dict[str, Any], *, begun: bool) -> Event:
        """An error body as an event; Groq names the event."""
        return Event(error, name="error" if self._groq else "")

    def _message(self, choice: Choice, generation: Generation) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None if choice.tool_calls else choice.text}
        if self._details and not self._groq:
            message["refusal"] = None
        if self._shows_reasoning and generation.reasoning:
            message["reasoning"] = "".join(generation.reasoning)
        if choice.tool_calls:
            message["tool_calls"] = [_whole_call(call) for call in choice.tool_calls]
        return message

    def _additions(self) -> dict[str, Any]:
        return {"citations": search.urls(), "search_results": search.results()} if self._sonar else {}

    def _usage(self, reply: Reply) -> dict[str, Any]:
        usage = chat_usage(reply.input, reply.generation)
        if self._details and not self._sonar:
            usage["prompt_tokens_details"] = {"cached_tokens": reply.input.cached}
            usage["completion_tokens_details"] = {"reasoning_tokens": len(reply.generation.reasoning)}
        if self._groq:
            usage |= {"queue_time": 0.001, "prompt_time": 0.001, "completion_time": 0.01, "total_time": 0.011}
        return usage


def chat_usage(tokens: InputTokens, generation: Generation) -> dict[str, Any]:
    """The three counts that every server gives."""
    output = generation.output_tokens
    return {"prompt_tokens": tokens.total, "completion_tokens": output, "total_tokens": tokens.total + output}


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{SERIAL}", "object": kind, "created": CREATED, "model": reply.model}


def _delta(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text_event(head: dict[str, Any], index: int, token: str, reply: Reply) -> Event:
    choice = _delta(index, {"content": token})
    if reply.logprobs:
        choice["logprobs"] = _logprobs((token,), reply)
    return Event(head | {"choices": [choice]}, output=len(token))


def _tool_events(head: dict[str, Any], index: int, call: ToolCall) -> Iterator[Event]:
    """The call's name first, then its arguments in pieces."""
    first = _whole_call(call)
    first["function"]["arguments"] = ""
    yield Event(head | {"choices": [_delta(index, {"tool_calls": [{"index": call.index, **first}]})]})
    for piece in pieces(call.arguments):
        part = {"index": call.index, "function": {"arguments": piece}}
        yield Event(head | {"choices": [_delta(index, {"tool_calls": [part]})]}, output=len(piece))


def _whole_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{SERIAL}{call.index}", "type": "function", "function": function}


def _logprobs(tokens: tuple[str, ...], reply: Reply) -> dict[str, Any]:
    content = []
    for token in tokens:
        likely = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
        content.append(likely | {"top_logprobs": [likely] * min(1, reply.top_logprobs)})
    return {"content": content} if reply.provider == "groq" else {"content": content, "refusal": None}


def _tool_choice(value: Any) -> str:
    if isinstance(value, dict):
        function = value.get("function") or {}
        return f"={function['name']}" if "name" in function else "required"
    return value or "auto"


def _schema(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or value.get("type") == "text":
        return None
    if value.get("type") == "json_schema":
        schema: dict[str, Any] = value["json_schema"].get("schema") or {}
        return schema
    return {"type": "object", "properties": {"answer": {"type": "string"}}}
