"""A provider's stream on its way to the caller: read, watched, translated where the dialects differ, ended truthfully.

What a caller gets is whole events, every ready one in one item. Until the first event that is part of an answer, errors
are raised, so that another target can be tried; after it they are the stream's last event. A stream that the provider
closed cleanly without its last event is complete if all choices have their finish reason: then that event is added.

Time limits are kept by one timer for the stream and not by one for each read. An event that never becomes whole is
silence, however many bytes come.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.call import Call, with_usage
from deployments.provider_caller.error_events import error_event
from deployments.provider_caller.estimate import Delivered, asked
from deployments.provider_caller.providers.base import Provider
from deployments.provider_caller.refusals import stated_failure
from deployments.provider_caller.sse import Event, EventSplitter, parse_events
from deployments.provider_caller.stream_watch import WATCHES, is_good_end
from deployments.provider_caller.translators.matrix import StreamTranslator
from kit.errors import DeadlineError, PenstockError, UpstreamError

_CLOSING_GRACE = 0.05
"""Seconds that a provider gets to end its response after its last event, so that the connection can be used again."""

_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d+)')


@dataclass(frozen=True, slots=True)
class Upstream:
    """An attempt that has been sent: whom to, in which dialect, and what turns its events into the caller's (None:
    they are passed on as they are)."""

    provider: Provider
    dialect: Dialect
    call: Call
    translate: StreamTranslator | None
    hide_usage: bool = False


class HttpStream:
    """Implements OpenStream. `begin` comes before everything else."""

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse, deadline: float) -> None:
        """deadline: of the whole stream, by the event loop's clock."""
        self._upstream = upstream
        self._provider = upstream.provider
        self._call = upstream.call
        self._response = response
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._watch = WATCHES[upstream.dialect](
            self._provider.usage_reader(upstream.dialect),
            choices=_choices(upstream.call),
            hide_usage=upstream.hide_usage,
        )
        self._verbatim = upstream.translate is None and not self._provider.mends
        self._splitter = EventSplitter()
        self._delivered = Delivered(upstream.dialect)
        self._first = b""
        self._last = b""
        self._sent = 0
        self._progress = 0.0
        self._reading = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usage(self) -> Usage:
        """As stated, else what has been delivered by now, by bytes."""
        stated = self._watch.usage
        if stated is not None and self._watch.counted:
            return stated
        known = stated or asked(self._call.content, self._call.dialect)
        return replace(known, output_tokens=max(known.output_tokens, self._delivered.tokens), estimated=True)

    @property
    def complete(self) -> bool:
        """Whether the provider has ended it well."""
        return self._watch.done and not self._watch.failed

    async def begin(self) -> None:
        """Read until the first event of an answer is at hand. Raises what went wrong before, with its usage."""
        try:
            await self._await_answer()
        except _StatedError as error:
            self._abort()
            raise error.stated from None  # A provider does not charge for what it refuses.
        except (aiohttp.ClientError, OSError) as error:
            self._abort()
            raise with_usage(_broken_off(self._provider), self.usage) from error
        except BaseException as error:
            self._abort()
            with_usage(error, self.usage)
            raise
        if self._watch.ended:
            self._first += self._ending()

    async def _await_answer(self) -> None:
        while True:
            seen = self._watch.see(await self._read())
            self._first += self._pass(seen)
            if self._watch.begins(seen):
                return
            if self._watch.failed:
                failure = _stated(self._provider, self._watch.error)
                raise failure if self._watch.error is None else _StatedError(failure)
            if self._watch.done:
                raise UpstreamError(f"{self._provider.name} ended its answer before it began.")

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Whole events in the caller's dialect."""
        try:
            if self._first:
                self._last = self._first
                yield self._first
            self._watch_the_clock()
            while not self._watch.ended:
                item = await self._next()
                if item:
                    self._last = item
                    yield item
            if self.complete:
                await self._finish()
        finally:
            self._abort()

    async def close(self) -> None:
        """End the upstream call."""
        self._abort()

    async def _next(self) -> bytes:
        """The next events for the caller, its own end included. Empty where there is nothing to pass on yet."""
        try:
            self._progress, self._reading = self._loop.time(), True
            events = await self._read()
            out = self._pass(self._watch.see(events))
        except PenstockError as error:
            return self._failed(error)
        except _StatedError as error:
            return self._failed(error.stated)
        except (aiohttp.ClientError, OSError):
            return self._failed(_broken_off(self._provider))
        finally:
            self._reading = False
        return out + self._ending() if self._watch.ended else out

    async def _read(self) -> bytes:
        """The next whole events. Raises UpstreamError where the stream is over before its end."""
        while True:
            piece = await self._response.content.readany()
            if not piece:
                return self._last_words()
            events = self._splitter.feed(piece)
            if events:
                self._progress = self._loop.time()
                return events

    def _last_words(self) -> bytes:
        """What stands for the end of a stream that was closed without one."""
        rest = self._splitter.pending
        stripped = rest.strip()
        if is_good_end(stripped):  # Only its empty line is missing.
            self._splitter = EventSplitter()
            return stripped + b"\n\n"
        closing = None if stripped else self._watch.closing()
        if closing is None:
            raise _cut_short(self._provider, rest)
        return closing

    def _pass(self, seen: bytes) -> bytes:
        """Provider's events, as the caller gets them."""
        self._delivered.add(seen)
        if self._verbatim:
            return seen
        events = [event for event in parse_events(seen) if event.data != b"[DONE]"]
        if self._watch.failed and self._watch.told:
            events = events[:-1]  # Told in the caller's words, by `_ending`.
        if self._provider.mends:
            events = [mended for event in events for mended in self._mended(event)]
        translate = self._upstream.translate
        return translate.feed(events) if translate else b"".join(map(_written, events))

    def _mended(self, event: Event) -> Iterator[Event]:
        content = orjson.loads(event.data)
        if not isinstance(content, dict):
            return
        for mended in self._provider.mend_event(content, self._upstream.dialect):
            if "type" in mended:
                mended["sequence_number"] = self._sent
            self._sent += 1
            yield Event(orjson.dumps(mended), str(mended.get("type", "")).encode(), 0)

    def _ending(self) -> bytes:
        """What follows the last event of the provider."""
        if self._watch.failed:
            if self._verbatim and self._watch.told:
                return b""
            return self._failed(_stated(self._provider, self._watch.error))
        translate = self._upstream.translate
        try:
            return translate.end() if translate else b""
        except PenstockError as error:
            return self._failed(error)

    def _failed(self, failure: PenstockError) -> bytes:
        """The last event of a stream that cannot end well."""
        self._watch.failed = True
        self._response.close()
        numbers = _SEQUENCE.findall(self._last) if self._call.dialect == "openai_responses" else []
        number = int(numbers[-1]) + 1 if numbers else 0
        return error_event(self._call.dialect, failure.message, failure.code, sequence_number=number)

    def _watch_the_clock(self) -> None:
        since = self._progress if self._reading else self._loop.time()
        self._timer = self._loop.call_at(min(self._deadline, since + self._call.idle_timeout), self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        now = self._loop.time()
        idle = self._call.idle_timeout
        if now >= self._deadline:
            self._give_up(f"{self._provider.name} did not finish within the {self._call.timeout:g} s that were left.")
        elif self._reading and now >= self._progress + idle:
            self._give_up(f"{self._provider.name} sent nothing more for {idle:g} s.")
        else:
            self._watch_the_clock()

    def _give_up(self, message: str) -> None:
        """Let the read that waits, or the next one, fail."""
        self._response.content.set_exception(DeadlineError(message))

    async def _finish(self) -> None:
        """Read the few bytes that end a response whose last event has come; the connection goes back to the pool."""
        try:
            async with asyncio.timeout(_CLOSING_GRACE):
                await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError, PenstockError):
            return
        if self._response.content.at_eof():
            self._response.release()

    def _abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._response.close()


class _StatedError(Exception):
    """An error that the provider stated before its answer began: nothing was used."""

    def __init__(self, stated: PenstockError) -> None:
        super().__init__(stated.message)
        self.stated = stated


def _broken_off(provider: Provider) -> UpstreamError:
    return UpstreamError(f"{provider.name} broke off its answer.")


def _stated(provider: Provider, stated: Any) -> PenstockError:
    if stated is None:
        return UpstreamError(f"{provider.name}'s answer is not what its API promises.")
    return stated_failure(provider, stated)


def _cut_short(provider: Provider, rest: bytes) -> Exception:
    """What to say of a stream that ended too early. Some servers put a plain JSON error where events should be."""
    try:
        content = orjson.loads(rest)
    except orjson.JSONDecodeError:
        content = None
    if isinstance(content, list) and content:
        content = content[0]
    if isinstance(content, dict) and content.get("error"):
        return _StatedError(stated_failure(provider, content["error"]))
    return UpstreamError(f"{provider.name} ended its answer before it was complete.")


def _written(event: Event) -> bytes:
    head = b"event: " + event.type + b"\n" if event.type else b""
    return head + b"data: " + event.data + b"\n\n"


def _choices(call: Call) -> int:
    n = call.content.get("n") if call.dialect == "openai_chat" else 1
    return n if isinstance(n, int) and n > 1 else 1
