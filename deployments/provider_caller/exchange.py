"""One request on its way through its attempts, from admission to the ledger.

1. Admission: one Lua call takes from the caller's limits and reserves what the first attempt can cost at most.
2. `Attempts` asks one target after the other. Each attempt holds its own money, calls once, and leaves a ledger row
   whatever becomes of it: answered, failed, cut off, left by the client.
3. The lease ends: what was reserved and not used is given back.

Rows are written and money is settled in the background by tasks of the stage: a client that leaves ends only the call.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deployments.protocols import ProviderReply, ProviderRequest, StreamEnd, StreamItem, StreamStart
from deployments.provider_caller.books import Attempt, Books
from deployments.provider_caller.call import Call, Completed, OpenStream
from deployments.provider_caller.catalogue import LOCAL
from deployments.provider_caller.money.admission import Admission
from deployments.provider_caller.money.errors import BudgetExceededError
from deployments.provider_caller.money.estimate import output_bound, prompt_bound, prompt_tokens
from deployments.provider_caller.money.lease import Claim, Lease
from deployments.provider_caller.money.ledger import Ledger
from deployments.provider_caller.reach import Reach
from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.failures import NotAskedError
from deployments.provider_caller.resilience.outcome import Outcome
from deployments.provider_caller.resilience.targets import Plan, Target
from kit.errors import UnprocessableError


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
        self._books = Books(desk.ledger, desk.reach, request, content, stream=stream)
        self._bounds: dict[tuple[str, str], int | None] = {}
        self._lease: Lease | None = None

    async def complete(self) -> ProviderReply:
        """One whole answer. Raises what ProviderCaller.complete does."""
        lease = self._lease = await self._admit()
        try:
            outcome = await self._desk.attempts.run(self._plan(), self._complete_once)
            outcome.ended(complete=True, output_tokens=self._books.last.output_tokens)
        finally:
            lease.release()
        target = outcome.target
        return ProviderReply(
            outcome.value.body, target.provider, target.model, self._books.total(), _failure(outcome), lease.headers()
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
                self._books.closed(
                    opened.attempt, opened.stream.usage, "ok" if complete else "broken_off" if finished else "cancelled"
                )
                outcome.ended(complete=complete if finished else None, output_tokens=self._books.last.output_tokens)
        finally:
            lease.release()
        yield StreamEnd(complete, self._books.total())

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
            surcharge=self._surcharge(provider) if limited.budgets else None,
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
        """The most nano-dollars that one attempt can cost. Found once for each target: admission and attempt ask."""
        target = (provider, model)
        if target not in self._bounds:
            self._bounds[target] = self._find_cost_bound(provider, model)
        return self._bounds[target]

    def _find_cost_bound(self, provider: str, model: str) -> int | None:
        price = self._desk.reach.price(self._request.account.tenant, provider, model)
        if price is None or self._surcharge(provider):
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

    def _surcharge(self, provider: str) -> str | None:
        return self._desk.reach.surcharge(provider, self._content, self._request.dialect)

    # --- one attempt --------------------------------------------------------------------------------------------

    async def _complete_once(self, target: Target, number: int) -> Completed:
        endpoint = self._desk.reach.endpoint(target)
        attempt = await self._begin(target, number)
        try:
            completed = await self._desk.reach.client(target.provider).complete(endpoint, self._call(target))
        except BaseException as error:
            self._books.failed(attempt, error)
            raise
        self._books.answered(attempt, completed.usage)
        return completed

    async def _open_once(self, target: Target, number: int) -> Opened:
        endpoint = self._desk.reach.endpoint(target)
        attempt = await self._begin(target, number)
        try:
            stream = await self._desk.reach.client(target.provider).open(endpoint, self._call(target))
        except BaseException as error:
            self._books.failed(attempt, error)
            raise
        attempt.first_token = time.perf_counter() - attempt.begun
        return Opened(stream, attempt)

    async def _discard(self, opened: Opened) -> None:
        """A hedge that came second: it is accounted like any other stream that was left."""
        await opened.stream.close()
        self._books.closed(opened.attempt, opened.stream.usage, "cancelled")

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


def _failure(outcome: Outcome[Any]) -> str | None:
    return outcome.failure.message if outcome.failure else None
