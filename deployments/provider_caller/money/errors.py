"""A budget that is spent."""

from kit.errors import RateLimitError


class BudgetExceededError(RateLimitError):
    """A hard budget does not cover the call. A retry cannot cure it before `retry_after`, the end of the period."""

    code = "BUDGET_EXCEEDED"
