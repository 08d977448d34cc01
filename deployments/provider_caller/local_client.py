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
            body = orjson.dumps(translate.reply(orjson.loads(body), call.content))
        return Completed(body, usage)

    async def open(self, endpoint: Endpoint, call: Call) -> "LocalStream":
        """The same answer as a stream."""
        translate = _translator(call)
        request = _request(call, translate)
        answer, usage = await self._answer(call, request)
        options = request.get("stream_options")
        asked = isinstance(options, dict) and bool(options.get("include_usage"))
        chunks = chat_format.chunks(answer, usage, include_usage=asked or translate is not None)
        return LocalStream(chunks, usage, translate.stream(call.content) if translate else None)

    async def _answer(self, call: Call, request: Mapping[str, Any]) -> tuple[ExtractiveAnswer, Usage]:
        chat_format.refuse_unsupported(request, call.passages)
        answer = await self._provider.answer(call.question, call.passages)
        return answer, chat_format.count_usage(call.question, call.passages, answer.text)


class LocalStream:
    """Implements OpenStream: all events are at hand."""

    def __init__(self, chunks: Iterator[bytes], usage: Usage, translate: StreamTranslator | None) -> None:
        self._chunks = chunks
        self._translate = translate
        self.usage: Usage | None = usage
        self.complete = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """A quoted sentence each, the finish, the usage if asked for, the end."""
        for chunk in self._chunks:
            item = chunk if self._translate is None else self._translated(self._translate, chunk)
            if item:
                yield item
        self.complete = True

    async def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _translated(translate: StreamTranslator, chunk: bytes) -> bytes:
        return translate.end() if chunk == chat_format.DONE else translate.feed(list(parse_events(chunk)))


def _translator(call: Call) -> Translator | None:
    return None if call.dialect == DIALECT else translator(call.dialect, DIALECT)


def _request(call: Call, translate: Translator | None) -> Mapping[str, Any]:
    return call.content if translate is None else translate.request(call.content, model=call.model)
