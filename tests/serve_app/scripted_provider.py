"""A provider caller that does as the model is called, in every dialect; `local` is the real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import orjson

from deployments.protocols import (
    CallerHealth,
    ProviderReply,
    ProviderRequest,
    StreamEnd,
    StreamItem,
    StreamStart,
    Usage,
)
from deployments.provider_caller.call import Call, Endpoint
from deployments.provider_caller.local_client import LocalClient
from deployments.provider_caller.refusals import ContextWindowError
from kit.errors import RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError
from tests.serve_app.scripted_replies import INPUT, OUTPUT, Said, error, stream, whole

MODELS = (
    "echo",
    "tool",
    "json",
    "down",
    "breaks",
    "broken",
    "truncated",
    "refuses",
    "slow",
    "crash",
    "limited",
    "spent",
    "long",
    "org/echo",
)
WORTH_A_FALLBACK = (UpstreamError, UnavailableError, RateLimitError)
USED = Usage(INPUT, OUTPUT, cost=2_500)


@dataclass
class ScriptedProvider:
    """`seen`: every request. `closed`: streams that ended. `gate`: what `slow` waits for."""

    local: LocalClient
    seen: list[ProviderRequest] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    trouble: CallerHealth = field(default_factory=CallerHealth)

    async def health(self) -> CallerHealth:
        return self.trouble

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        self.seen.append(request)
        failure = None
        for target in request.targets:
            try:
                return replace(await self.complete_one(request, *target), failure=failure)
            except WORTH_A_FALLBACK as problem:
                if target == request.targets[-1]:
                    raise
                failure = failure or problem.message
        raise AssertionError("no target")

    async def complete_one(self, request: ProviderRequest, provider: str, model: str) -> ProviderReply:
        if provider == "local":
            done = await self.local.complete(Endpoint("local", "local", "", None), call(request, model, stream=False))
            return ProviderReply(done.body, provider, model, replace(done.usage or USED, cost=0))
        self.fail_early(model)
        if model == "slow":
            await self.gate.wait()
        text = f"You asked: {request.question}" + (" [1]" if request.passages else "")
        return ProviderReply(whole(request.dialect, said(request, model, text)), provider, model, USED)

    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        self.seen.append(request)
        failure = None
        for target in request.targets:
            try:
                async with contextlib.aclosing(self.stream_one(request, *target)) as items:
                    async for item in items:
                        yield replace(item, failure=failure) if isinstance(item, StreamStart) else item
                return
            except WORTH_A_FALLBACK as problem:
                if target == request.targets[-1] or target[1] == "breaks":
                    raise
                failure = failure or problem.message

    async def stream_one(self, request: ProviderRequest, provider: str, model: str) -> AsyncIterator[StreamItem]:
        try:
            if provider == "local":
                opened = await self.local.open(Endpoint("local", "local", "", None), call(request, model, stream=True))
                yield StreamStart(provider, model)
                async for events in opened.events():
                    yield events
                yield StreamEnd(True, opened.usage)
                return
            self.fail_early(model)
            yield StreamStart(provider, model)
            events_of_all = [*stream(request.dialect, said(request, model))]
            kept = {"breaks": 1, "broken": 2, "truncated": len(events_of_all) - 2}.get(model, len(events_of_all))
            for number, events in enumerate(events_of_all[:kept]):
                yield events
                if model == "slow" and number == 0:
                    await self.gate.wait()
            if model == "breaks":
                raise UpstreamError("The provider broke off its answer.")
            if model == "broken":
                yield error(request.dialect, "The provider broke off its answer.")
            if model != "truncated":
                yield StreamEnd(model != "broken", USED)
        finally:
            self.closed.append(model)

    def fail_early(self, model: str) -> None:
        match model:
            case "down":
                raise UnavailableError("The mock cannot be reached.", retry_after=3)
            case "refuses":
                raise UpstreamRefusedError("max_tokens is too large.", status=400)
            case "limited":
                raise RateLimitError("Slow down.", retry_after=7)
            case "spent":
                raise RateLimitError("The budget of this key is spent.", retry_after=3600, should_retry=False)
            case "long":
                raise ContextWindowError("9000 tokens are more than the 8192 that fit.")
            case "crash":
                raise RuntimeError("secret-detail")


def said(request: ProviderRequest, model: str, text: str | None = None) -> Said:
    """What a model answers: `tool` calls the first tool of the request, `json` answers with JSON."""
    content = orjson.loads(request.body)
    usage = bool((content.get("stream_options") or {}).get("include_usage"))
    words = ("one ", "two ", "three") if text is None else (text,)
    if model == "json":
        words = ('{"city": ', '"Ulm"}')
    tool = None
    if model == "tool":
        first = content["tools"][0]
        tool = first.get("name") or first["function"]["name"]
    return Said(model, words, tool, include_usage=usage)


def call(request: ProviderRequest, model: str, *, stream: bool) -> Call:
    return Call(
        provider="local",
        model=model,
        dialect=request.dialect,
        body=request.body,
        content=orjson.loads(request.body),
        stream=stream,
        request_id=request.request_id,
        timeout=request.timeout,
        idle_timeout=request.timeout,
        question=request.question,
        passages=request.passages,
    )
