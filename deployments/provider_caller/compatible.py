"""Calls servers that speak OpenAI's chat completions: the request's bytes go out as they came, the answer's come back.

What a call may raise:
- before anything of the answer has been passed on: UpstreamError, UnavailableError, DeadlineError, RateLimitError,
  UpstreamRefusedError;
- after it, nothing: the stream ends with an error event and without `[DONE]`.
Only a connection that could not be made is tried a second time: nothing was sent on it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
import orjson

from deployments.protocols import Usage
from deployments.provider_caller.call import Call, Completed, Endpoint
from deployments.provider_caller.refusals import error_message, refusal
from deployments.provider_caller.sse import EventSplitter
from deployments.provider_caller.stream_watch import StreamWatch, error_event
from deployments.provider_caller.usage import read_usage
from kit.errors import DeadlineError, PenstockError, UnavailableError, UpstreamError

CONNECT_ATTEMPTS = 2
MAX_ERROR_BYTES = 64 * 1024
_CLOSING_GRACE = 0.05
"""Seconds that a provider gets to end its response after `[DONE]`, so that the connection can be used again."""


class CompatibleClient:
    """A pool of connections to all such servers. Create it inside the running event loop."""

    def __init__(self, *, connect_timeout: float, max_connections: int) -> None:
        connector = aiohttp.TCPConnector(limit=max_connections, ttl_dns_cache=300, keepalive_timeout=15)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._connect_timeout = connect_timeout
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def complete(self, endpoint: Endpoint, request: Call) -> Completed:
        """The provider's whole answer, verbatim, and the usage it states."""
        try:
            async with asyncio.timeout(request.timeout):
                response = await self._post(endpoint, request, "application/json")
                async with response:
                    body = await _read(endpoint, response)
        except TimeoutError as error:
            raise _deadline(endpoint, request) from error
        return Completed(body, _usage_of(endpoint, body))

    async def open(self, endpoint: Endpoint, request: Call) -> "CompatibleStream":
        """A stream, once its first real event has come."""
        watch = StreamWatch()
        items = self.stream(endpoint, request, watch)
        try:
            first = await anext(items)
        except StopAsyncIteration:
            raise UpstreamError(f"{endpoint.name} sent an empty stream.") from None
        except BaseException:
            await items.aclose()
            raise
        return CompatibleStream(first, items, watch)

    async def stream(self, endpoint: Endpoint, request: Call, watch: StreamWatch) -> AsyncGenerator[bytes, None]:
        """Whole events, every ready one in one item. `watch` knows afterwards how it ended and what it used."""
        deadline = asyncio.get_running_loop().time() + request.timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._post(endpoint, request, "text/event-stream")
        except TimeoutError as error:
            raise _deadline(endpoint, request) from error
        try:
            async with aclosing(_events(endpoint, request, response, watch, deadline)) as events:
                async for item in events:
                    yield item
            if watch.done:
                await _finish(response)
        finally:
            response.close()

    async def _post(self, endpoint: Endpoint, request: Call, accept: str) -> aiohttp.ClientResponse:
        """The response, whose status is 200. Raises the platform's error for any other."""
        response = await self._connect(endpoint, request, accept)
        if response.status == 200:
            return response
        async with response:
            body = await response.content.read(MAX_ERROR_BYTES)
            raise refusal(endpoint.name, response.status, response.headers, body)

    async def _connect(self, endpoint: Endpoint, request: Call, accept: str) -> aiohttp.ClientResponse:
        url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        headers = _headers(endpoint, request, accept)
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            try:
                return await self._session.post(url, data=_body(request), headers=headers, allow_redirects=False)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                if attempt == CONNECT_ATTEMPTS:
                    raise UnavailableError(f"{endpoint.name} cannot be reached.", retry_after=1) from error
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
                raise UnavailableError(f"The base URL of {endpoint.name} is wrong.", should_retry=False) from error
            except aiohttp.ClientError as error:
                raise UpstreamError(f"{endpoint.name} closed the connection without an answer.") from error
        raise AssertionError("unreachable")


class CompatibleStream:
    """An open stream of events in OpenAI's dialect."""

    def __init__(self, first: bytes, items: AsyncGenerator[bytes, None], watch: StreamWatch) -> None:
        self._first = first
        self._items = items
        self._watch = watch

    @property
    def usage(self) -> Usage | None:
        """What the provider has stated by now."""
        return self._watch.usage

    @property
    def complete(self) -> bool:
        """Whether `[DONE]` has come."""
        return self._watch.done

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Whole events as they come."""
        async with aclosing(self._items) as items:
            yield self._first
            async for item in items:
                yield item

    async def close(self) -> None:
        """End the upstream call."""
        await self._items.aclose()


def _body(call: Call) -> bytes:
    return call.body if call.content["model"] == call.model else orjson.dumps({**call.content, "model": call.model})


async def _events(
    endpoint: Endpoint, request: Call, response: aiohttp.ClientResponse, watch: StreamWatch, deadline: float
) -> AsyncGenerator[bytes, None]:
    """Passes the stream on. Errors are raised until the first item has left, and become its last event after that."""
    started = False
    try:
        splitter = EventSplitter()
        held = b""
        while not watch.ended:
            async with asyncio.timeout_at(deadline):
                piece = await response.content.readany()
            if not piece:
                raise UpstreamError(_cut_short(endpoint, splitter.pending))
            events = held + splitter.feed(piece)
            if not started and not watch.open(events):
                held = events
                continue
            held = b""
            if events:
                # Set before the item leaves: whoever closes the iterator there has had it.
                started = True
                yield watch.see(events)
        return
    except TimeoutError as error:
        failure: PenstockError = _deadline(endpoint, request)
        failure.__cause__ = error
    except (aiohttp.ClientError, OSError) as error:
        failure = UpstreamError(f"{endpoint.name} broke off its answer.")
        failure.__cause__ = error
    except UpstreamError as error:
        failure = error
    if not started:
        raise failure
    watch.failed = True
    yield error_event(failure.message, failure.code)


def _cut_short(endpoint: Endpoint, rest: bytes) -> str:
    """What to say of a stream that ended too early. Some servers put a plain JSON error where events should be."""
    try:
        content = orjson.loads(rest)
    except orjson.JSONDecodeError:
        content = None
    stated = error_message(content.get("error")) if isinstance(content, dict) else None
    return (
        f"{endpoint.name} failed: {stated}" if stated else f"{endpoint.name} ended its answer before it was complete."
    )


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Read the few bytes that end a response whose last event has come; the connection goes back to the pool."""
    try:
        async with asyncio.timeout(_CLOSING_GRACE):
            await response.content.readany()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return
    if response.content.at_eof():
        response.release()


async def _read(endpoint: Endpoint, response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except aiohttp.ClientError as error:
        raise UpstreamError(f"{endpoint.name} broke off its answer.") from error


def _usage_of(endpoint: Endpoint, body: bytes) -> Usage | None:
    """The usage of a whole answer. Raises UpstreamError where the body is no completion."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError(f"{endpoint.name} sent an answer that is not JSON.") from error
    if not isinstance(content, dict):
        raise UpstreamError(f"{endpoint.name} sent an answer that is no completion.")
    if content.get("error"):
        raise UpstreamError(f"{endpoint.name} failed: {error_message(content['error']) or 'it gave no reason'}.")
    if not isinstance(content.get("choices"), list):
        raise UpstreamError(f"{endpoint.name} sent an answer that is no completion.")
    return read_usage(content.get("usage"))


def _headers(endpoint: Endpoint, request: Call, accept: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": accept, "Accept-Encoding": "identity"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    if request.request_id.isascii() and request.request_id.isprintable():
        headers["X-Client-Request-Id"] = request.request_id
    return headers


def _deadline(endpoint: Endpoint, request: Call) -> DeadlineError:
    return DeadlineError(f"{endpoint.name} did not finish within the {request.timeout:g} s that were left.")
