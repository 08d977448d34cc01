"""The `local` provider behind the interface of all providers. It answers in OpenAI's chat completions; for callers of
other dialects that is translated, as it is for any provider."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from deployments.protocols import Dialect, Passage, Usage
from deployments.provider_caller import chat_format
from deployments.provider_caller.call import Call, Completed, Endpoint
from deployments.provider_caller.local import ExtractiveAnswer
from deployments.provider_caller.sse import parse_events
from deployments.provider_caller.translators.matrix import StreamTranslator, Translator, translator

DIALECT: Dialect = "openai_chat"


class Answers(Protocol):
    """Chooses the sentences of passages that answer a question."""

    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        """The best sentences, or the statement that none answers."""
        ...


class LocalClient:
    """Implements ProviderClient."""

    def __init__(self, provider: Answers) -> None:
        self._provider = provider

    async def complete(self, endpoint: Endpoint, call: Call) -> Completed:
        """One whole answer. Raises UnprocessableError for what quoting cannot do."""
        translate = _translator(call)
        answer, usage = await self._answer(call, _request(call, translate))
        body = chat_format.completion(answer, usage)
        if translate is not None:
            translated = translate.reply(orjson.loads(body), call.content)
            body = orjson.dumps({**translated, "penstock": chat_format.grounds(answer)})
        return Completed(body, usage)

    async def open(self, endpoint: Endpoint, call: Call) -> "LocalStream":
        """The same answer as a stream."""
        translate = _translator(call)
        request = _request(call, translate)
        answer, usage = await self._answer(call, request)
        options = request.get("stream_options")
        asked = isinstance(options, dict) and bool(options.get("include_usage"))
        chunks = chat_format.chunks(answer, usage, include_usage=asked or translate is not None)
        if translate is None:
            return LocalStream(chunks, usage)
        return LocalStream(_translated(chunks, translate.stream(call.content), chat_format.grounds(answer)), usage)

    async def _answer(self, call: Call, request: Mapping[str, Any]) -> tuple[ExtractiveAnswer, Usage]:
        chat_format.refuse_unsupported(request, call.passages)
        answer = await self._provider.answer(call.question, call.passages)
        return answer, chat_format.count_usage(call.question, call.passages, answer.text)


class LocalStream:
    """Implements OpenStream: all events are at hand."""

    def __init__(self, chunks: Iterator[bytes], usage: Usage) -> None:
        self._chunks = chunks
        self.usage: Usage | None = usage
        self.complete = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """A quoted sentence each, the finish, the usage if asked for, the end."""
        for chunk in self._chunks:
            yield chunk
        self.complete = True

    async def close(self) -> None:
        """Nothing is held."""


def _translator(call: Call) -> Translator | None:
    return None if call.dialect == DIALECT else translator(call.dialect, DIALECT)


def _request(call: Call, translate: Translator | None) -> Mapping[str, Any]:
    return call.content if translate is None else translate.request(call.content, model=call.model)


def _translated(chunks: Iterator[bytes], translate: StreamTranslator, grounds: Mapping[str, Any]) -> Iterator[bytes]:
    for chunk in chunks:
        ended = chunk == chat_format.DONE
        item = _grounded(translate.end(), grounds) if ended else translate.feed(list(parse_events(chunk)))
        if item:
            yield item


def _grounded(closing: bytes, grounds: Mapping[str, Any]) -> bytes:
    """The closing events, of which the one that sums the answer up says what it rests on."""
    written = []
    for event in parse_events(closing):
        content = orjson.loads(event.data)
        if event.type == b"message_delta":
            content["penstock"] = grounds
        elif event.type in (b"response.completed", b"response.incomplete"):
            content["response"]["penstock"] = grounds
        written.append(b"event: " + event.type + b"\ndata: " + orjson.dumps(content) + b"\n\n")
    return b"".join(written)
