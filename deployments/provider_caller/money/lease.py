"""What a call asks for, and what it holds once it was let in.

Each attempt at a provider takes a `Hold`; the first is the admission's own. A hold that was used is the ledger's; one
that was not is given back with the lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployments.protocols import Account
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.limits import Left, headers_of
from deployments.provider_caller.money.rules import Applying
from deployments.provider_caller.money.settlement import Entry

if TYPE_CHECKING:
    from deployments.provider_caller.money.admission import Admission


FEW_SLOTS = 64
"""Of a cap this small the slots go back at once: one call after the other must fit into a cap of one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call may use. tokens: of the prompt, estimated, and the most of the output; for limits on tokens.

    cost: the most nano-dollars that its first attempt can cost, None where the price is unknown. timeout: seconds that
    the call may last. provider, model: of the first attempt. surcharge: the field that makes its price unknown, None
    where it is the model's that is.
    """

    account: Account
    request_id: str
    tokens: int
    cost: int | None
    timeout: float = 600.0
    provider: str = ""
    model: str = ""
    surcharge: str | None = None


class Lease:
    """What a call that was let in holds: a slot, what it took from the limits, and a hold for each attempt."""

    def __init__(
        self,
        admission: "Admission",
        claim: Claim,
        applying: Applying,
        first: Hold,
        left: Sequence[Left],
        *,
        local: bool,
    ) -> None:
        """local: the limits were this process's own."""
        self.left = tuple(left)
        self._admission = admission
        self._claim = claim
        self._applying = applying
        self._first = first
        self._holds = [first]
        self._taken = False
        self._local = local
        self._released = False

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` for the client, empty where no rate limit applies."""
        return headers_of(self.left)

    async def hold(self, cost: int | None, *, provider: str = "", model: str = "") -> Hold:
        """The reservation of one attempt that costs at most this many nano-dollars (None: unknown price).

        The first is the admission's own if it covers the cost. Raises as `Admission.admit` does for budgets.
        """
        if not self._taken and _covers(self._first, cost):
            self._taken = True
            return self._first
        claim = self._claim
        if provider or model:
            claim = replace(claim, provider=provider, model=model)
        hold = await self._admission.reserve(claim, cost)
        self._holds.append(hold)
        return hold

    def release(self) -> None:
        """Give back the slot and the holds that the ledger has not taken over. Does not block; safe to repeat."""
        if self._released:
            return
        self._released = True
        holds = [hold for hold in self._holds if not hold.recorded]
        entries = [Entry("free", hold.key, closes=hold) for hold in holds if hold.counters]
        slots = () if self._local else tuple(slot.key for slot in self._applying.slots)
        rates = () if self._local or self._first not in holds else self._applying.token_rates
        if slots or rates:
            tokens = -self._claim.tokens if rates else 0
            entries.append(Entry("free", tokens=tokens, rates=rates, lease=self._first.id.hex, slots=slots))
        local = self._applying if self._local else None
        urgent = any(slot.cap <= FEW_SLOTS for slot in self._applying.slots)
        self._admission.give_back(self._claim.account.tenant, entries, local, urgent=urgent)


def _covers(hold: Hold, cost: int | None) -> bool:
    """Whether a hold is for as much. No known amount stands for an unknown one, nor the other way round."""
    if cost is None or hold.amount is None:
        return cost is hold.amount
    return cost <= hold.amount
