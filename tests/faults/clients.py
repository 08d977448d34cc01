"""What the official clients make of an answer: it is played to them once more, byte by byte as it came."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai

from tests.faults.cases import Result

CASE = "x-case"
_SKIPPED = {"content-length", "transfer-encoding", "connection", "date", "server"}


@dataclass
class Seen:
    """text: of the answer, as far as it came. ended: the client was told that it is whole. error: the exception or the
    error event that it was given."""

    text: str = ""
    ended: bool = False
    error: str | None = None


class Replay(httpx2.AsyncBaseTransport):
    """Gives the answers of results instead of asking anybody."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        result = self.results[request.headers[CASE]]
        headers = {name: value for name, value in result.headers.items() if name not in _SKIPPED}
        return httpx2.Response(result.status, headers=headers, content=result.body, request=request)


class Clients:
    """Both, strict and without retries."""

    def __init__(self) -> None:
        self._replay = Replay()
        connection = httpx2.AsyncClient(transport=self._replay)
        common: dict[str, Any] = {"max_retries": 0, "http_client": connection, "_strict_response_validation": True}
        self._openai = openai.AsyncOpenAI(api_key="k", base_url="http://replayed/v1", **common)
        self._anthropic = anthropic.AsyncAnthropic(api_key="k", base_url="http://replayed", **common)

    async def read(self, result: Result) -> Seen:
        """As the client of the surface's dialect sees it."""
        self._replay.results[result.request_id] = result
        call: Any = {
            "chat completions": self._openai.chat.completions.create,
            "responses": self._openai.responses.create,
            "messages": self._anthropic.messages.create,
        }[result.case.surface]
        read = {"chat completions": _chat, "responses": _responses, "messages": _messages}[result.case.surface]
        seen = Seen()
        try:
            answer = await call(**result.case.body, extra_headers={CASE: result.request_id})
            await read(answer, result.case.stream, seen)
        except (openai.APIError, anthropic.APIError) as error:
            seen.error = type(error).__name__
        return seen


async def _chat(answer: Any, stream: bool, seen: Seen) -> None:
    if not stream:
        choice = answer.choices[0]
        seen.text, seen.ended = choice.message.content, choice.finish_reason == "stop"
        return
    async for chunk in answer:
        for choice in chunk.choices:
            seen.text += choice.delta.content or ""
            seen.ended = seen.ended or choice.finish_reason is not None


async def _responses(answer: Any, stream: bool, seen: Seen) -> None:
    if not stream:
        seen.text, seen.ended = answer.output_text, answer.status == "completed"
        return
    async for event in _numbered(answer):
        if event.type == "response.output_text.delta":
            seen.text += event.delta
        elif event.type == "response.completed":
            seen.ended = True
        elif event.type in ("error", "response.failed", "response.incomplete"):
            seen.error = event.type


async def _messages(answer: Any, stream: bool, seen: Seen) -> None:
    if not stream:
        seen.text, seen.ended = answer.content[0].text, answer.stop_reason == "end_turn"
        return
    async for event in answer:
        if event.type == "content_block_delta":
            seen.text += event.delta.text
        elif event.type == "message_stop":
            seen.ended = True


async def _numbered(events: Any) -> AsyncIterator[Any]:
    """Responses count their events, the one that reports an error too."""
    expected = 0
    async for event in events:
        assert event.sequence_number == expected, event
        expected += 1
        yield event
