"""What a caller is told where a budget or a limit refuses."""

from datetime import datetime

from deployments.provider_caller.money.dollars import dollars
from deployments.provider_caller.money.errors import BudgetExceededError
from deployments.provider_caller.money.rules import Budget, RateRule, SlotRule
from kit.errors import RateLimitError, UnavailableError, UnprocessableError

_SUBJECTS = {"tenant": "your tenant", "user": "your user", "key": "this API key", "agent": "this agent"}


def exceeded(budget: Budget, moment: datetime, spent: int, reserved: int, cost: int) -> BudgetExceededError:
    """The budget does not cover the call."""
    end = budget.period_at(moment).end
    running = f", {dollars(reserved)} USD reserved for running calls" if reserved else ""
    return BudgetExceededError(
        f"The {_name(budget)} of {dollars(budget.amount)} USD does not cover this call: {dollars(spent)} USD spent"
        f"{running}, and the call may cost {dollars(cost)} USD. The period ends at {end:%Y-%m-%dT%H:%MZ}.",
        retry_after=max(1.0, (end - moment).total_seconds()),
        should_retry=False,
    )


def unpriced(budget: Budget, provider: str, model: str, surcharge: str | None) -> UnprocessableError:
    """Nobody can say what the call may cost. surcharge: the field of the request because of which, if it is one."""
    if surcharge is not None:
        problem = f"the price of a call with it is unknown, and the {_name(budget)} is hard"
        return UnprocessableError(
            f"`{surcharge}`: {problem}. Leave it out, or make the budget one that alerts.",
            details={surcharge: [problem]},
            should_retry=False,
        )
    name = "/".join(part for part in (provider, model) if part) or "this model"
    problem = f"the price of {name} is unknown, and the {_name(budget)} is hard"
    return UnprocessableError(
        f"The call cannot be reserved: {problem}. Choose a model with a price, let the operator add its price to the "
        "price table, or make the budget one that alerts.",
        details={"model": [problem]},
        should_retry=False,
    )


def unchecked(budget: Budget, reason: str = "Redis is lost") -> UnavailableError:
    """The counters cannot be reached."""
    return UnavailableError(
        f"The {_name(budget)} cannot be checked now: {reason}. Calls under a hard budget are refused until it can be.",
        retry_after=1,
    )


def unknown_rules() -> UnavailableError:
    """This process has started without Postgres: there may be a hard budget that it has never seen."""
    return UnavailableError(
        "The budgets and limits for this call are not known yet: the database cannot be reached. Try again.",
        retry_after=1,
    )


def rate_reached(rule: RateRule, wait: float) -> RateLimitError:
    """A rate limit; wait: seconds until the call fits."""
    return RateLimitError(
        f"The limit of {rule.rate.amount} {rule.unit} per minute for {_SUBJECTS[rule.scope]} is reached. "
        f"Try again in {duration(wait)}.",
        retry_after=wait,
    )


def slots_taken(rule: SlotRule) -> RateLimitError:
    """A cap on calls at once."""
    calls = "call" if rule.cap == 1 else "calls"
    return RateLimitError(
        f"The limit of {rule.cap} {calls} at once for {_SUBJECTS[rule.scope]} is reached. Wait for one to end.",
        retry_after=1,
    )


def duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


def _name(budget: Budget) -> str:
    period = "daily" if budget.period == "day" else "monthly"
    return f"{period} budget of {_SUBJECTS[budget.scope]} (id {budget.id})"
