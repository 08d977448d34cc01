"""OpenAI's responses, with the stream events of today's API."""

from collections.abc import Iterator
from typing import Any

from load.simulator.generation import SERIAL, Choice, ToolCall
from load.simulator.openai_chat import CREATED
from load.simulator.prompt import DEFAULT_ANSWER, Prompt, content_texts, function_specs
from load.simulator.reply import Event, Reply
from load.simulator.tokens import pieces


class OpenAIResponses:
    """`POST /v1/responses`. Subclasses speak dialects of it. `names_events`: whether events have an `event:` line."""

    kind = "responses"
    names_events = True

    def read(self, body: dict[str, Any]) -> Prompt:
        """What a valid body asks for."""
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        texts = list(content_texts(body.get("instructions")))
        for item in items:
            texts += content_texts(
                item.get("output") if item.get("type") == "function_call_output" else item.get("content")
            )
        users = [item for item in items if item.get("role") == "user"]
        limit = body.get("max_output_tokens")
        text_format = (body.get("text") or {}).get("format") or {}
        return Prompt(
            model=body.get("model") or "default",
            texts=texts,
            last_user="".join(content_texts(users[-1].get("content"))) if users else "",
            after_tool=bool(items) and items[-1].get("type") == "function_call_output",
            stream=bool(body.get("stream")),
            include_usage=True,
            max_tokens=DEFAULT_ANSWER if limit is None else limit,
            tools=function_specs(body.get("tools")),
            tool_choice=_tool_choice(body.get("tool_choice")),
            schema=_schema(text_format),
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        """A `response`."""
        choice = reply.generation.choices[0]
        status = "incomplete" if choice.finish == "length" else "completed"
        return self.response(reply, status, self.items(reply), self.usage(reply))

    def events(self, reply: Reply) -> Iterator[Event]:
        """`response.created` to `response.completed` or `response.incomplete`."""
        for number, event in enumerate(self._steps(reply)):
            assert isinstance(event.content, dict)
            content = {"type": event.content["type"], "sequence_number": number} | event.content
            yield Event(
                content,
                name=content["type"] if self.names_events else "",
                output=event.output,
                states_input=event.states_input,
                states_usage=event.states_usage,
                ends=event.ends,
            )

    def cost(self, reply: Reply) -> int | None:
        """OpenAI and those like it state none."""
        return None

    def failed(self, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
        """A response whose status is `failed`."""
        wrong = {"code": "server_error", "message": error["error"]["message"]}
        return self.response(reply, "failed", [], None) | {"error": wrong}

    def failure(self, reply: Reply, error: dict[str, Any], *, begun: bool) -> Event:
        """`response.failed` once the response had begun, `error` before."""
        if begun:
            content = {"type": "response.failed", "sequence_number": 0, "response": self.failed(reply, error)}
        else:
            message = error["error"]["message"]
            content = {"type": "error", "sequence_number": 0, "code": "server_error", "message": message, "param": None}
        return Event(content, name=str(content["type"]) if self.names_events else "")

    # what a dialect of it may change

    def response(
        self, reply: Reply, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The response object in one of its states."""
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_{SERIAL}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": incomplete,
            "instructions": None,
            "max_output_tokens": None,
            "metadata": {},
            "model": reply.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": True,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage,
            "user": None,
        }

    def usage(self, reply: Reply) -> dict[str, Any]:
        """`ResponseUsage`."""
        output = reply.generation.output_tokens
        return {
            "input_tokens": reply.input.total,
            "input_tokens_details": {"cached_tokens": reply.input.cached, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": len(reply.generation.reasoning)},
            "total_tokens": reply.input.total + output,
        }

    def items(self, reply: Reply) -> list[dict[str, Any]]:
        """The output items, done."""
        generation = reply.generation
        choice = generation.choices[0]
        done: list[dict[str, Any]] = []
        if generation.reasoning:
            done.append({"id": f"rs_{SERIAL}", "type": "reasoning", "summary": []})
        if choice.tool_calls:
            status = "incomplete" if choice.finish == "length" else "completed"
            return done + [function_item(call, call.arguments, status) for call in choice.tool_calls]
        return [*done, message_item(choice)]

    def _steps(self, reply: Reply) -> Iterator[Event]:
        """The events without their numbers."""
        begun = self.response(reply, "in_progress", [], None)
        yield Event({"type": "response.created", "response": begun})
        yield Event({"type": "response.in_progress", "response": begun})
        choice = reply.generation.choices[0]
        calls = iter(choice.tool_calls)
        for index, item in enumerate(self.items(reply)):
            if item["type"] == "message":
                yield from self.text_steps(index, choice, item)
            elif item["type"] == "function_call":
                yield from self.call_steps(index, next(calls), item)
            else:
                yield Event({"type": "response.output_item.added", "output_index": index, "item": item})
                yield Event({"type": "response.output_item.done", "output_index": index, "item": item})
        whole = self.whole(reply)
        yield Event({"type": f"response.{whole['status']}", "response": whole}, states_usage=True, ends=True)

    def text_steps(self, index: int, choice: Choice, item: dict[str, Any]) -> Iterator[Event]:
        """A message, token by token."""
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        empty = item | {"status": "in_progress", "content": []}
        yield Event({"type": "response.output_item.added", "output_index": index, "item": empty})
        part = item["content"][0]
        yield Event({"type": "response.content_part.added", **place, "part": part | {"text": ""}})
        for token in choice.tokens:
            delta = {"type": "response.output_text.delta", **place, "delta": token, "logprobs": []}
            yield Event(delta, output=len(token))
        yield Event({"type": "response.output_text.done", **place, "text": choice.text, "logprobs": []})
        yield Event({"type": "response.content_part.done", **place, "part": part})
        yield Event({"type": "response.output_item.done", "output_index": index, "item": item})

    def call_steps(self, index: int, call: ToolCall, item: dict[str, Any]) -> Iterator[Event]:
        """A function call, its arguments in pieces."""
        place = {"item_id": item["id"], "output_index": index}
        empty = function_item(call, "", "in_progress")
        yield Event({"type": "response.output_item.added", "output_index": index, "item": empty})
        for piece in pieces(call.arguments):
            delta = {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            yield Event(delta, output=len(piece))
        yield Event({"type": "response.function_call_arguments.done", **place, "arguments": call.arguments})
        yield Event({"type": "response.output_item.done", "output_index": index, "item": item})


def message_item(choice: Choice) -> dict[str, Any]:
    """An assistant's message, done."""
    return {
        "id": f"msg_{SERIAL}",
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if choice.finish == "length" else "completed",
        "content": [{"type": "output_text", "text": choice.text, "annotations": [], "logprobs": []}],
    }


def function_item(call: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    """A function call in one of its states."""
    return {
        "id": f"fc_{SERIAL}{call.index}",
        "type": "function_call",
        "call_id": f"call_{SERIAL}{call.index}",
        "name": call.name,
        "arguments": arguments,
        "status": status,
    }


def _tool_choice(value: Any) -> str:
    if isinstance(value, dict):
        return f"={value['name']}" if "name" in value else "required"
    return value or "auto"


def _schema(text_format: dict[str, Any]) -> dict[str, Any] | None:
    if text_format.get("type") == "json_schema":
        schema: dict[str, Any] = text_format.get("schema") or {}
        return schema
    if text_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return None
