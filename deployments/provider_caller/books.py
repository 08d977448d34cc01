"""What each attempt of a request used, priced, as rows of the usage ledger.

What counts as used: what the provider states, else an estimate of what was sent and delivered (`estimate.py`). An
error that the provider states costs nothing; an attempt that was left on its way has used its prompt.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from deployments.protocols import ProviderRequest, Usage
from deployments.provider_caller.call import spent_on
from deployments.provider_caller.catalogue import LOCAL
from deployments.provider_caller.estimate import asked
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.ledger import Ledger
from deployments.provider_caller.money.rows import LedgerRow
from deployments.provider_caller.reach import Reach
from deployments.provider_caller.resilience.targets import OPERATOR, Target
from kit.errors import PenstockError, UnprocessableError, ValidationError
from kit.ids import uuid7
from kit.telemetry import METRICS

TOKENS = "penstock_provider_tokens_total"
COST = "penstock_provider_cost_nanodollars_total"
UNPRICED = "penstock_provider_unpriced_calls_total"

NOTHING = Usage(0, 0)


@dataclass(slots=True)
class Attempt:
    """One attempt under way. begun: on the clock of `time.perf_counter`."""

    target: Target
    number: int
    hold: Hold
    started_at: datetime
    begun: float
    first_token: float | None = None


class Books:
    """One request's. `content`: its body, parsed."""

    def __init__(
        self, ledger: Ledger, reach: Reach, request: ProviderRequest, content: Mapping[str, Any], *, stream: bool
    ) -> None:
        self._ledger = ledger
        self._reach = reach
        self._request = request
        self._content = content
        self._stream = stream
        self._used: list[Usage] = []

    @property
    def last(self) -> Usage:
        """Of the attempt that was recorded last."""
        return self._used[-1]

    def answered(self, attempt: Attempt, usage: Usage | None) -> None:
        """A whole answer has come."""
        self._record(attempt, "ok", None, usage or asked(self._content, self._request.dialect))

    def closed(self, attempt: Attempt, usage: Usage | None, outcome: str) -> None:
        """A stream is over: `ok`, `broken_off` by the provider or `cancelled` by whoever read it."""
        self._record(attempt, outcome, None, usage or NOTHING)

    def failed(self, attempt: Attempt, error: BaseException) -> None:
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

    def total(self) -> Usage:
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
        self._ledger.record(row, attempt.hold)

    def _priced(self, target: Target, usage: Usage) -> Usage:
        if usage is NOTHING:
            return replace(usage, cost=0)
        if usage.cost is not None:
            return usage
        if self._reach.surcharge(target.provider, self._content, self._request.dialect):
            return replace(usage, cost=None)
        price = self._reach.price(self._request.account.tenant, target.provider, target.model)
        return replace(usage, cost=price.cost(usage) if price else None)


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
