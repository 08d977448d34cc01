"""Calls providers over HTTP: one client for all of them, with one pool of connections.

Where caller and provider speak the same dialect, the request's bytes go out as they came and the answer's come back;
a request is written anew only where its model or a field of it must change. Where they do not, a translator stands
between. What a tenant's own address names is called through connections that the egress rules guard.

What a call may raise:
- before anything of the answer has been passed on: UpstreamError, UnavailableError, DeadlineError, RateLimitError,
  UpstreamRefusedError, ContextWindowError, and the translator's ValidationError or UnprocessableError;
- after it, nothing: the stream ends with an error event.
Only a connection that could not be made is tried a second time: nothing was sent on it. One that dies under a request
is not, since the provider may have worked on it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from deployments.protocols import Dialect
from deployments.provider_caller.answers import read_answer
from deployments.provider_caller.call import Call, Completed, Endpoint, spent_on, with_usage
from deployments.provider_caller.estimate import asked
from deployments.provider_caller.http_stream import HttpStream, Upstream
from deployments.provider_caller.providers.base import Provider
from deployments.provider_caller.refusals import refusal
from deployments.provider_caller.translators.matrix import Translator, translator
from kit.egress import EgressRules, guarded_connector
from kit.errors import DeadlineError, UnavailableError, UpstreamError

CONNECT_ATTEMPTS = 2
MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Request:
    """A call as its provider gets it. translate: None where the dialects are the same."""

    provider: Provider
    dialect: Dialect
    url: str
    body: bytes
    translate: Translator | None
    hide_usage: bool


class HttpClient:
    """Implements ProviderClient for every provider but `local`. Create it inside the running event loop."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        connect_timeout: float,
        max_connections: int,
        max_answer_bytes: int,
        egress: EgressRules,
    ) -> None:
        """egress: what endpoints of tenants may name."""
        self._providers = providers
        self._max_answer_bytes = max_answer_bytes
        pool: dict[str, Any] = {"limit": max_connections, "ttl_dns_cache": 300, "keepalive_timeout": 15}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._session = _session(aiohttp.TCPConnector(**pool), timeout)
        self._guarded = _session(guarded_connector(egress, **pool), timeout)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._guarded.close()

    async def complete(self, endpoint: Endpoint, call: Call) -> Completed:
        """The provider's whole answer, and the usage it states, else an estimate."""
        request = self._request(endpoint, call)
        try:
            async with asyncio.timeout(call.timeout):
                response = await self._post(endpoint, call, request, "application/json")
                async with response:
                    body = await self._read(request.provider, response)
        except TimeoutError as error:
            raise with_usage(_deadline(request.provider, call), asked(call.content, call.dialect)) from error
        except aiohttp.ClientError as error:
            broken = UpstreamError(f"{request.provider.name} broke off its answer.")
            raise with_usage(broken, asked(call.content, call.dialect)) from error
        return _completed(request, call, body)

    async def open(self, endpoint: Endpoint, call: Call) -> HttpStream:
        """A stream, once the first event of its answer has come."""
        request = self._request(endpoint, call)
        deadline = asyncio.get_running_loop().time() + call.timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._post(endpoint, call, request, "text/event-stream")
                translate = request.translate.stream(call.content) if request.translate else None
                upstream = Upstream(request.provider, request.dialect, call, translate, request.hide_usage)
                stream = HttpStream(upstream, response, deadline)
                await stream.begin()
        except TimeoutError as error:
            # Silent without a head, too, the provider has the prompt.
            known = spent_on(error.__cause__) if error.__cause__ else None
            used = known or asked(call.content, call.dialect)
            raise with_usage(_deadline(request.provider, call), used) from error
        return stream

    async def check(self, endpoint: Endpoint, *, timeout: float) -> float:
        """Whether the provider answers and takes the key, at no cost: the seconds that it took.

        Raises KeyRefusedError for a wrong key, and what `complete` raises.
        """
        provider = self._providers[endpoint.provider]
        url = f"{endpoint.base_url.rstrip('/')}{provider.check_path}"
        headers = {"Accept": "application/json", **provider.headers(endpoint.key, provider.dialects[0])}
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(endpoint, provider, "GET", url, None, headers)
                async with response:
                    body = await response.content.read(MAX_ERROR_BYTES)
        except TimeoutError as error:
            raise DeadlineError(f"{provider.name} did not answer within {timeout:g} s.") from error
        except aiohttp.ClientError as error:
            raise UpstreamError(f"{provider.name} broke off its answer.") from error
        if response.status not in provider.check_statuses:
            raise refusal(provider, response.status, response.headers, body, tenant_owned=endpoint.tenant_owned)
        return loop.time() - started

    def _request(self, endpoint: Endpoint, call: Call) -> _Request:
        provider = self._providers[endpoint.provider]
        dialect = provider.dialect(call.dialect, call.content, call.model)
        model = provider.wire_model(call.model)
        translate = translator(call.dialect, dialect) if dialect != call.dialect else None
        content: Mapping[str, Any] = translate.request(call.content, model=model) if translate else call.content
        content = provider.prepare(content, dialect, call.model)
        changes: dict[str, Any] = {}
        if content.get("model") != model:
            changes["model"] = model
        if bool(content.get("stream")) != call.stream:
            changes["stream"] = call.stream
        hide_usage = False
        if call.stream and dialect == "openai_chat" and not _includes_usage(content):
            options = content.get("stream_options")
            changes["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
            hide_usage = translate is None
        if changes:
            content = {**content, **changes}
        body = call.body if content is call.content else orjson.dumps(content)
        url = f"{endpoint.base_url.rstrip('/')}{provider.path(dialect)}"
        return _Request(provider, dialect, url, body, translate, hide_usage)

    async def _post(self, endpoint: Endpoint, call: Call, request: _Request, accept: str) -> aiohttp.ClientResponse:
        """The response, whose status is 200. Raises the platform's error for any other."""
        headers = {"Content-Type": "application/json", "Accept": accept, "Accept-Encoding": "identity"}
        headers |= request.provider.headers(endpoint.key, request.dialect)
        if call.request_id.isascii() and call.request_id.isprintable():
            headers["X-Client-Request-Id"] = call.request_id
        response = await self._send(endpoint, request.provider, "POST", request.url, request.body, headers)
        if response.status == 200:
            return response
        async with response:
            try:
                body = await response.content.read(MAX_ERROR_BYTES)
            except aiohttp.ClientError:
                body = b""
            raise refusal(request.provider, response.status, response.headers, body, tenant_owned=endpoint.tenant_owned)

    async def _send(
        self,
        endpoint: Endpoint,
        provider: Provider,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> aiohttp.ClientResponse:
        session = self._guarded if endpoint.tenant_owned else self._session
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            try:
                return await session.request(method, url, data=body, headers=headers, allow_redirects=False)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                if attempt == CONNECT_ATTEMPTS:
                    raise UnavailableError(f"{provider.name} cannot be reached.", retry_after=1) from error
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
                raise UnavailableError(f"The base URL of {provider.name} is wrong.", should_retry=False) from error
            except aiohttp.ClientError as error:
                raise UpstreamError(f"{provider.name} closed the connection without an answer.") from error
            except ValueError:
                # A key with a line break; the error's words would repeat it.
                raise UpstreamError(f"The key for {provider.name} cannot be sent.", should_retry=False) from None
        raise AssertionError("unreachable")

    async def _read(self, provider: Provider, response: aiohttp.ClientResponse) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > self._max_answer_bytes:
                raise UpstreamError(f"{provider.name} sent an answer of more than {self._max_answer_bytes} bytes.")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _session(connector: aiohttp.BaseConnector, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


def _completed(request: _Request, call: Call, body: bytes) -> Completed:
    """The answer in the caller's dialect."""
    provider, dialect = request.provider, request.dialect
    answer = read_answer(provider, dialect, body, call)
    if request.translate is None and not provider.mends:
        return Completed(body, answer.usage)
    content = provider.mend_answer(answer.content, dialect) if provider.mends else answer.content
    if request.translate is not None:
        try:
            content = request.translate.reply(content, call.content)
        except UpstreamError as error:
            raise with_usage(error, answer.usage) from error.__cause__
    return Completed(orjson.dumps(content), answer.usage)


def _includes_usage(content: Mapping[str, Any]) -> bool:
    options = content.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _deadline(provider: Provider, call: Call) -> DeadlineError:
    return DeadlineError(f"{provider.name} did not finish within the {call.timeout:g} s that were left.")
