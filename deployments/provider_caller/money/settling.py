"""What a written ledger row means for the counters."""

from typing import Literal

from deployments.provider_caller.money.rows import Waiting
from deployments.provider_caller.money.rules import Rules
from deployments.provider_caller.money.settlement import Entry
from deployments.provider_caller.money.store import Fate

_KINDS: dict[Fate, Literal["add", "settle", "free"]] = {
    "new": "add",
    "replaced": "add",
    "known": "settle",
    "refused": "free",
}


def entry_of(one: Waiting, fate: Fate, rules: Rules, *, late: bool) -> Entry:
    """The settlement of a row. late: its minute is over, so that rate limits are left as they are.

    A new row is charged. One that was there already is charged only if its hold is still open: nobody has settled it
    then. One that took the place of a `lost` row changes the charge from what was held to what was used.
    """
    hold, moment = one.hold, one.charged_at
    applying = rules.applying_to(one.row.account)
    charge = one.charge - (one.held if fate == "replaced" else 0)
    rates = () if late else applying.token_rates
    return Entry(
        _KINDS[fate],
        hold.key if hold is not None else "",
        charge,
        tuple((budget.counter(moment), budget) for budget in applying.budgets),
        one.tokens - (hold.tokens if hold is not None else 0) if rates else 0,
        rates,
        closes=hold,
    )
