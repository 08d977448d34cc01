"""One request on its way through its attempts, from admission to the ledger.

1. Admission: one Lua call takes from the caller's limits and reserves what the first attempt can cost at most.
2. `Attempts` asks one target after the other. Each attempt holds its own money, calls once, and leaves a ledger row
   whatever becomes of it: answered, failed, cut off, left by the client.
3. The lease ends: what was reserved and not used is given back.

Rows are written and money is settled in the background by tasks of the stage: a client that leaves ends only the call.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from deployments.protocols import ProviderReply, ProviderRequest, StreamEnd, StreamItem, StreamStart, Usage
from deployments.provider_caller.call import Call, Completed, OpenStream, spent_on
from deployments.provider_caller.catalogue import LOCAL
from deployments.provider_caller.estimate import asked
from deployments.provider_caller.money.admission import Admission
from deployments.provider_caller.money.errors import BudgetExceededError
from deployments.provider_caller.money.estimate import output_bound, prompt_bound, prompt_tokens
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.lease import Claim, Lease
from deployments.provider_caller.money.ledger import Ledger
from deployments.provider_caller.money.rows import LedgerRow
from deployments.provider_caller.reach import Reach
from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.failures import NotAskedError
from deployments.provider_caller.resilience.outcome import Outcome
from deployments.provider_caller.resilience.targets import OPERATOR, Plan, Target
from kit.errors import PenstockError, UnprocessableError, ValidationError
from kit.ids import uuid7
from kit.telemetry import METRICS

TOKENS = "penstock_provider_tokens_total"
COST = "penstock_provider_cost_nanodollars_total"
UNPRICED = "penstock_provider_unpriced_calls_total"

NOTHING = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens reserved for what a request does not say; see MoneyConfig."""

    image_tokens: int
    file_tokens: int
    assumed_prompt: int
    assumed_output: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What every exchange of a replica works with."""

    reach: Reach
    attempts: Attempts
    admission: Admission
    ledger: Ledger
    bounds: Bounds
    idle_timeout: float


@dataclass(slots=True)
class Attempt:
    """One attempt under way. begun: on the clock of `time.perf_counter`."""

    target: Target
    number: int
    hold: Hold
    started_at: datetime
    begun: float
    first_token: float | None = None


@dataclass(slots=True)
class Opened:
    """A stream that has begun."""

    stream: OpenStream
    attempt: Attempt


class Exchange:
    """One request. `content`: its body, parsed."""

    def __init__(self, desk: Desk, request: ProviderRequest, content: Mapping[str, Any], *, stream: bool) -> None:
        self._desk = desk
        self._request = request
        self._content = content
        self._stream = stream
        self._ends = time.monotonic() + request.timeout
        self._prompt = prompt_tokens(content, request.dialect)
        self._used: list[Usage] = []
        self._lease: Lease | None = None

    async def complete(self) -> ProviderReply:
        """One whole answer. Raises what ProviderCaller.complete does."""
        lease = self._lease = await self._admit()
        try:
            outcome = await self._desk.attempts.run(self._plan(), self._complete_once)
            usage = self._used[-1]
            outcome.ended(complete=True, output_tokens=usage.output_tokens)
        finally:
            lease.release()
        target = outcome.target
        return ProviderReply(
            outcome.value.body, target.provider, target.model, self._total(), _failure(outcome), lease.headers()
        )

    async def stream(self) -> AsyncGenerator[StreamItem, None]:
        """The items of ProviderCaller.stream."""
        lease = self._lease = await self._admit()
        try:
            outcome = await self._desk.attempts.run(self._plan(), self._open_once, discard=self._discard)
            opened, target = outcome.value, outcome.target
            finished = False
            try:
                yield StreamStart(target.provider, target.model, _failure(outcome), lease.headers())
                async with aclosing(opened.stream.events()) as events:
                    async for item in events:
                        yield item
                finished = True
            finally:
                await opened.stream.close()
                complete = opened.stream.complete
                self._close(opened, "ok" if complete else "broken_off" if finished else "cancelled")
                outcome.ended(complete=complete if finished else None, output_tokens=self._used[-1].output_tokens)
        finally:
            lease.release()
        yield StreamEnd(complete, self._total())

    # --- before the call ----------------------------------------------------------------------------------------

    async def _admit(self) -> Lease:
        request = self._request
        provider, model = request.targets[0]
        limited = self._desk.admission.rules().applying_to(request.account)
        claim = Claim(
            account=request.account,
            request_id=request.request_id,
            tokens=self._prompt + self._output_bound(provider, model) if limited.rates else 0,
            cost=self._cost_bound(provider, model) if limited.budgets else 0,
            timeout=request.timeout,
            provider=provider,
            model=model,
        )
        return await self._desk.admission.admit(claim)

    def _plan(self) -> Plan:
        request = self._request
        reach, tenant = self._desk.reach, request.account.tenant
        return Plan(
            targets=tuple(reach.target(tenant, provider, model) for provider, model in request.targets),
            deadline=self._ends,
            tokens=self._prompt,
            max_output=output_bound(self._content, request.dialect, 0, 1, assumed=0),
            stream=self._stream,
            hedge=not self._content.get("tools"),
        )

    def _output_bound(self, provider: str, model: str) -> int:
        choices = self._content.get("n")
        return output_bound(
            self._content,
            self._request.dialect,
            self._desk.reach.max_output(self._request.account.tenant, provider, model),
            choices if isinstance(choices, int) else 1,
            assumed=self._desk.bounds.assumed_output,
        )

    def _cost_bound(self, provider: str, model: str) -> int | None:
        price = self._desk.reach.price(self._request.account.tenant, provider, model)
        if price is None:
            return None
        if provider == LOCAL:
            return 0
        bounds = self._desk.bounds
        prompt = prompt_bound(
            self._content,
            self._request.dialect,
            image_tokens=bounds.image_tokens,
            file_tokens=bounds.file_tokens,
            assumed=bounds.assumed_prompt,
        )
        rates = price.rates(prompt)
        output = self._output_bound(provider, model)
        return prompt * rates.dearest_prompt + output * rates.output + price.request

    # --- one attempt --------------------------------------------------------------------------------------------

    async def _complete_once(self, target: Target, number: int) -> Completed:
        attempt = await self._begin(target, number)
        try:
            completed = await self._desk.reach.client(target.provider).complete(
                self._desk.reach.endpoint(target), self._call(target)
            )
        except BaseException as error:
            self._failed(attempt, error)
            raise
        self._record(attempt, "ok", None, completed.usage or asked(self._content, self._request.dialect))
        return completed

    async def _open_once(self, target: Target, number: int) -> Opened:
        attempt = await self._begin(target, number)
        try:
            stream = await self._desk.reach.client(target.provider).open(
                self._desk.reach.endpoint(target), self._call(target)
            )
        except BaseException as error:
            self._failed(attempt, error)
            raise
        attempt.first_token = time.perf_counter() - attempt.begun
        return Opened(stream, attempt)

    async def _discard(self, opened: Opened) -> None:
        """A hedge that came second: it is accounted like any other stream that was left."""
        await opened.stream.close()
        self._close(opened, "cancelled")

    async def _begin(self, target: Target, number: int) -> Attempt:
        assert self._lease is not None
        limited = self._desk.admission.rules().applying_to(self._request.account)
        cost = self._cost_bound(target.provider, target.model) if limited.budgets else 0
        try:
            hold = await self._lease.hold(cost, provider=target.provider, model=target.model)
        except (BudgetExceededError, UnprocessableError) as error:
            # Not the provider's doing: it is passed over, and a cheaper one may follow.
            raise NotAskedError(error.message, should_retry=False) from error
        return Attempt(target, number, hold, datetime.now(UTC), time.perf_counter())

    def _call(self, target: Target) -> Call:
        request = self._request
        return Call(
            provider=target.provider,
            model=target.model,
            dialect=request.dialect,
            body=request.body,
            content=self._content,
            stream=self._stream,
            request_id=request.request_id,
            timeout=max(0.001, self._ends - time.monotonic()),
            idle_timeout=self._desk.idle_timeout,
            question=request.question,
            passages=request.passages,
        )

    # --- after it -----------------------------------------------------------------------------------------------

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        """Account what a failed attempt used. What was refused before it was sent leaves no row."""
        if isinstance(error, ValidationError | UnprocessableError):
            return
        used = spent_on(error)
        if isinstance(error, asyncio.CancelledError):
            # It was on its way: the provider has the prompt, and nobody knows how far it came.
            self._record(attempt, "cancelled", None, used or asked(self._content, self._request.dialect))
        else:
            code = error.code if isinstance(error, PenstockError) else "INTERNAL_ERROR"
            self._record(attempt, "failed", code, used or NOTHING)

    def _close(self, opened: Opened, outcome: str) -> None:
        self._record(opened.attempt, outcome, None, opened.stream.usage or NOTHING)

    def _record(self, attempt: Attempt, outcome: str, error_code: str | None, stated: Usage) -> None:
        request, target = self._request, attempt.target
        usage = self._priced(target, stated)
        self._used.append(usage)
        _count(target, usage)
        assignment = request.assignment
        row = LedgerRow(
            tenant=request.account.tenant,
            id=uuid7(),
            request_id=request.request_id,
            attempt=attempt.number,
            started_at=attempt.started_at,
            user_id=request.account.user_id,
            key_id=request.account.key_id,
            agent_id=request.account.agent_id,
            dialect=request.dialect,
            provider=target.provider,
            model=target.model,
            credential=OPERATOR if target.owner == OPERATOR else "tenant",
            operation=request.operation,
            reason=request.reason,
            experiment=assignment.experiment if assignment else None,
            arm=assignment.arm if assignment else None,
            streamed=self._stream,
            outcome=outcome,
            error_code=error_code,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            estimated=usage.estimated,
            cost_nano=usage.cost,
            latency_ms=(time.perf_counter() - attempt.begun) * 1000,
            first_token_ms=None if attempt.first_token is None else attempt.first_token * 1000,
        )
        self._desk.ledger.record(row, attempt.hold)

    def _priced(self, target: Target, usage: Usage) -> Usage:
        if usage is NOTHING:
            return replace(usage, cost=0)
        if usage.cost is not None:
            return usage
        price = self._desk.reach.price(self._request.account.tenant, target.provider, target.model)
        return replace(usage, cost=price.cost(usage) if price else None)

    def _total(self) -> Usage:
        """Of all attempts together; its cost is unknown where one of theirs is."""
        if len(self._used) == 1:
            return self._used[0]
        costs = [usage.cost for usage in self._used]
        return Usage(
            input_tokens=sum(usage.input_tokens for usage in self._used),
            output_tokens=sum(usage.output_tokens for usage in self._used),
            cached_tokens=sum(usage.cached_tokens for usage in self._used),
            cache_write_tokens=sum(usage.cache_write_tokens for usage in self._used),
            cache_write_long_tokens=sum(usage.cache_write_long_tokens for usage in self._used),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
            estimated=any(usage.estimated for usage in self._used),
        )


def _failure(outcome: Outcome[Any]) -> str | None:
    return outcome.failure.message if outcome.failure else None


def _count(target: Target, usage: Usage) -> None:
    if target.provider == LOCAL or (not usage.input_tokens and not usage.output_tokens):
        return
    provider, model = target.provider, target.model
    METRICS.count(TOKENS, usage.input_tokens, kind="input", provider=provider, model=model)
    METRICS.count(TOKENS, usage.output_tokens, kind="output", provider=provider, model=model)
    if usage.cost is None:
        METRICS.count(UNPRICED, provider=provider, model=model)
    else:
        METRICS.count(COST, usage.cost, provider=provider, model=model)
