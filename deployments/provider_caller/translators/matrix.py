"""Translators between the dialects, one for each pair of a caller's and a provider's.

A request goes through the module that is named after its pair (`<caller's>_to_<provider's>`). An answer is read from
the provider's dialect as pieces and written from pieces in the caller's (see answers/pieces.py), whole or as a stream.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from deployments.protocols import Dialect
from deployments.provider_caller.sse import Event
from deployments.provider_caller.translators import (
    anthropic_messages_to_openai_chat,
    anthropic_messages_to_openai_responses,
    openai_chat_to_anthropic_messages,
    openai_chat_to_openai_responses,
    openai_responses_to_anthropic_messages,
    openai_responses_to_openai_chat,
)
from deployments.provider_caller.translators.answers import (
    anthropic_messages_reader,
    anthropic_messages_writer,
    openai_chat_reader,
    openai_chat_writer,
    openai_responses_reader,
    openai_responses_writer,
)
from deployments.provider_caller.translators.answers.event_stream import EventStream
from deployments.provider_caller.translators.answers.pieces import Piece, StreamReader, StreamWriter
from deployments.provider_caller.translators.openai_chat_to_anthropic_messages import DEFAULT_MAX_TOKENS

Clock = Callable[[], float]
"""Unix seconds."""


class StreamTranslator(Protocol):
    """Translates one stream. What either method raises must become the stream's error event: what it gave before stays
    valid."""

    def feed(self, events: Sequence[Event]) -> bytes:
        """The provider's events in, whole events of the caller's dialect out, maybe none. Raises UpstreamError for an
        event that reports a failure or is not what the provider's API promises."""
        ...

    def end(self) -> bytes:
        """What closes a stream that the provider has ended well. Raises UpstreamError where its answer was not
        complete."""
        ...


class Translator(Protocol):
    """Translates between a caller and a provider of different dialects."""

    def request(self, content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
        """The caller's request as the provider takes it, for `model`. Raises ValidationError for what is wrong in it,
        UnprocessableError for what the provider's dialect cannot say; both name the field."""
        ...

    def reply(self, content: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
        """The provider's whole answer as the caller takes it. request: the caller's own. Raises UpstreamError for an
        answer that reports a failure or is not what the provider's API promises."""
        ...

    def stream(self, request: Mapping[str, Any]) -> StreamTranslator:
        """For one stream. request: the caller's own."""
        ...


def translator(
    caller: Dialect, provider: Dialect, *, clock: Clock = time.time, default_max_tokens: int = DEFAULT_MAX_TOKENS
) -> Translator:
    """default_max_tokens: what Anthropic is asked for where the caller states no limit."""
    request = _REQUESTS[caller, provider]
    if provider == "anthropic_messages":
        request = partial(request, default_max_tokens=default_max_tokens)
    return _Pair(request, _READERS[provider], _WRITERS[caller], named=caller != "openai_chat", clock=clock)


@dataclass(frozen=True, slots=True)
class _Reading:
    whole: Callable[[Mapping[str, Any]], list[Piece]]
    stream: Callable[[], StreamReader]


@dataclass(frozen=True, slots=True)
class _Writing:
    whole: Callable[[Sequence[Piece], Mapping[str, Any], Clock], dict[str, Any]]
    stream: Callable[[Mapping[str, Any], Clock], StreamWriter]


class _Pair:
    def __init__(
        self,
        request: Callable[..., dict[str, Any]],
        reading: _Reading,
        writing: _Writing,
        *,
        named: bool,
        clock: Clock,
    ) -> None:
        self._request = request
        self._reading = reading
        self._writing = writing
        self._named = named
        self._clock = clock

    def request(self, content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
        return self._request(content, model=model)

    def reply(self, content: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
        return self._writing.whole(self._reading.whole(content), request, self._clock)

    def stream(self, request: Mapping[str, Any]) -> StreamTranslator:
        return EventStream(self._reading.stream(), self._writing.stream(request, self._clock), named=self._named)


_REQUESTS: dict[tuple[Dialect, Dialect], Callable[..., dict[str, Any]]] = {
    ("openai_chat", "anthropic_messages"): openai_chat_to_anthropic_messages.request,
    ("openai_chat", "openai_responses"): openai_chat_to_openai_responses.request,
    ("openai_responses", "openai_chat"): openai_responses_to_openai_chat.request,
    ("openai_responses", "anthropic_messages"): openai_responses_to_anthropic_messages.request,
    ("anthropic_messages", "openai_chat"): anthropic_messages_to_openai_chat.request,
    ("anthropic_messages", "openai_responses"): anthropic_messages_to_openai_responses.request,
}
_READERS: dict[Dialect, _Reading] = {
    "openai_chat": _Reading(openai_chat_reader.read_whole, openai_chat_reader.ChatStreamReader),
    "openai_responses": _Reading(openai_responses_reader.read_whole, openai_responses_reader.ResponsesStreamReader),
    "anthropic_messages": _Reading(
        anthropic_messages_reader.read_whole, anthropic_messages_reader.MessagesStreamReader
    ),
}
_WRITERS: dict[Dialect, _Writing] = {
    "openai_chat": _Writing(openai_chat_writer.write_whole, openai_chat_writer.ChatStreamWriter),
    "openai_responses": _Writing(openai_responses_writer.write_whole, openai_responses_writer.ResponsesStreamWriter),
    "anthropic_messages": _Writing(
        anthropic_messages_writer.write_whole, anthropic_messages_writer.MessagesStreamWriter
    ),
}
