"""The `local` provider behind the interface of all providers: OpenAI chat completions in and out."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Protocol

from deployments.protocols import Passage, Usage
from deployments.provider_caller import chat_format
from deployments.provider_caller.call import Call, Completed, Endpoint
from deployments.provider_caller.local import ExtractiveAnswer


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
        answer, usage = await self._answer(call)
        return Completed(chat_format.completion(answer, usage), usage)

    async def open(self, endpoint: Endpoint, call: Call) -> "LocalStream":
        """The same answer as a stream."""
        answer, usage = await self._answer(call)
        options = call.content.get("stream_options")
        include_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        return LocalStream(chat_format.chunks(answer, usage, include_usage=include_usage), usage)

    async def _answer(self, call: Call) -> tuple[ExtractiveAnswer, Usage]:
        chat_format.refuse_unsupported(call.content, call.passages)
        answer = await self._provider.answer(call.question, call.passages)
        return answer, chat_format.count_usage(call.question, call.passages, answer.text)


class LocalStream:
    """Implements OpenStream: all events are at hand."""

    def __init__(self, chunks: Iterator[bytes], usage: Usage) -> None:
        self._chunks = chunks
        self.usage: Usage | None = usage
        self.complete = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """A quoted sentence each, the finish, the usage if asked for, `[DONE]`."""
        for chunk in self._chunks:
            yield chunk
        self.complete = True

    async def close(self) -> None:
        """Nothing is held."""
