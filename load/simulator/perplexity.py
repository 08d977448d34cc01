"""Perplexity's Agent API (`POST /v1/agent`, alias `/v1/responses`), which took the place of Sonar's chat completions.

It looks like OpenAI's responses and differs: events have no `event:` line, usage names the cache otherwise and has a
cost, sources come as a `search_results` item and there are no reasoning items. The public reference is
https://docs.perplexity.ai/api-reference/agent-post; Sonar's own paths still answer and are `openai_chat`.
"""

from collections.abc import Iterator
from typing import Any

from load.simulator import search
from load.simulator.generation import SERIAL, Choice, ToolCall
from load.simulator.openai_chat import CREATED
from load.simulator.openai_responses import OpenAIResponses, function_item
from load.simulator.prompt import Prompt
from load.simulator.reply import Event, Reply

PRESETS = {"fast": "openai/gpt-6-luna", "low": "openai/gpt-6-luna", "medium": "openai/gpt-6-luna"}
_INPUT_USD, _OUTPUT_USD, _SEARCH_USD = 0.25e-6, 2.5e-6, 0.0025


class PerplexityAgent(OpenAIResponses):
    """A search happens where the request has the `web_search` tool or a preset, as there."""

    names_events = False

    def read(self, body: dict[str, Any]) -> Prompt:
        """What a valid body asks for."""
        prompt = super().read(body)
        preset = body.get("preset")
        prompt.model = (body.get("models") or [body.get("model") or PRESETS.get(str(preset), "openai/gpt-6-sol")])[0]
        prompt.searches = preset is not None or any(t.get("type") == "web_search" for t in body.get("tools") or ())
        prompt.include_usage = (body.get("stream_options") or {}).get("include_usage") is not False
        chosen = body.get("response_format")
        if chosen:
            prompt.schema = chosen["json_schema"].get("schema") or {}
        return prompt

    def response(
        self, reply: Reply, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The response object in one of its states."""
        answer: dict[str, Any] = {
            "id": f"resp_{SERIAL}",
            "object": "response",
            "created_at": CREATED,
            "model": reply.model,
            "status": status,
            "output": output,
            "background": False,
            "store": True,
        }
        if status == "incomplete":
            answer["incomplete_details"] = {"reason": "max_output_tokens"}
        if usage is not None and reply.include_usage:
            answer["usage"] = usage
        return answer

    def usage(self, reply: Reply) -> dict[str, Any]:
        """Tokens, the searches and what they cost in US dollars."""
        output = reply.generation.output_tokens
        costs = {"input_cost": reply.input.total * _INPUT_USD, "output_cost": output * _OUTPUT_USD}
        tool_costs = {"tool_calls_cost": _SEARCH_USD} if reply.searches else {}
        usage: dict[str, Any] = {
            "input_tokens": reply.input.total,
            "input_tokens_details": {
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": reply.input.cached,
            },
            "output_tokens": output,
            "total_tokens": reply.input.total + output,
            "cost": {"currency": "USD", **costs, **tool_costs}
            | {"total_cost": sum(costs.values()) + sum(tool_costs.values())},
        }
        if reply.searches:
            usage["tool_calls_details"] = {"search_web": {"invocation": 1}}
        return usage

    def cost(self, reply: Reply) -> int | None:
        """As `usage` has it."""
        return round(self.usage(reply)["cost"]["total_cost"] * 1_000_000_000) if reply.include_usage else None

    def items(self, reply: Reply) -> list[dict[str, Any]]:
        """The sources first, then the message or the calls; no reasoning."""
        choice = reply.generation.choices[0]
        found = [search.output_item()] if reply.searches else []
        if choice.tool_calls:
            return found + [function_item(call, call.arguments, "completed") for call in choice.tool_calls]
        part = {"type": "output_text", "text": choice.text, "annotations": []}
        message = {"id": f"msg_{SERIAL}", "type": "message", "role": "assistant", "status": "completed"}
        return [*found, message | {"content": [part]}]

    def text_steps(self, index: int, choice: Choice, item: dict[str, Any]) -> Iterator[Event]:
        """A message, token by token; there are no events of content parts."""
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        empty = item | {"status": "in_progress", "content": []}
        yield Event({"type": "response.output_item.added", "output_index": index, "item": empty})
        for token in choice.tokens:
            yield Event({"type": "response.output_text.delta", **place, "delta": token}, output=len(token))
        yield Event({"type": "response.output_text.done", **place, "text": choice.text})
        yield Event({"type": "response.output_item.done", "output_index": index, "item": item})

    def call_steps(self, index: int, call: ToolCall, item: dict[str, Any]) -> Iterator[Event]:
        """A function call comes whole: its first event has the arguments already."""
        added = {"type": "response.output_item.added", "output_index": index, "item": item}
        yield Event(added, output=len(call.arguments))
        yield Event({"type": "response.output_item.done", "output_index": index, "item": item})

    def failed(self, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
        """A response whose status is `failed`; its HTTP status is 200."""
        wrong = {"message": error["error"]["message"], "type": "internal_error", "code": "internal_error"}
        return self.response(reply, "failed", [], None) | {"error": wrong}

    def failure(self, reply: Reply, error: dict[str, Any], *, begun: bool) -> Event:
        """`response.failed` once the response had begun, `error` before."""
        kind = "response.failed" if begun else "error"
        wrong = {"message": error["error"]["message"], "type": "internal_error", "code": "internal_error"}
        return Event({"type": kind, "sequence_number": 0, "error": wrong})
