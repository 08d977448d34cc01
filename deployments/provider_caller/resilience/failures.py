"""What each error of an attempt means: for this target, for the next one, and for the provider's breaker.

- Bad input is the caller's everywhere: it is neither repeated nor sent elsewhere. That holds for a tool schema or a
  parameter that a provider refuses, too: another model would answer a question that was not asked.
- A model that the provider does not have, a refused key and a spent account are no fault of the caller: the next
  target is asked. The breaker stays closed, since other models and other keys work.
- 429 is the provider's answer, not its failure. It never opens a breaker.
"""

from dataclasses import dataclass

from kit.errors import (
    DeadlineError,
    PenstockError,
    RateLimitError,
    UnavailableError,
    UpstreamError,
    UpstreamRefusedError,
)

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
"""`code` of a refusal because of the prompt's size."""

_TRANSIENT = frozenset({408, 409, 425})
_NOT_THE_CALLERS = frozenset({402, 404, 410})


class NotAskedError(UnavailableError):
    """A target was passed over: its breaker is open, it is paused, its queue is full, its limit is reached."""


class StallError(UpstreamError):
    """A stream did not begin within its model's first-token limit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """reason: for metrics and logs. retry: the same target may answer next time. fallback: another target may answer.
    breaker: it counts as the provider's failure. slow: it took long to see, so a retry waits for no fallback."""

    reason: str
    retry: bool = False
    fallback: bool = True
    breaker: bool = False
    slow: bool = False


NOT_ASKED = Verdict("not_asked")
STALL = Verdict("stall", retry=True, breaker=True, slow=True)
DEADLINE = Verdict("deadline")
CONTEXT_LENGTH = Verdict("context_length")
RATE_LIMITED = Verdict("rate_limited", retry=True)
SPENT = Verdict("account_spent")
KEY_REFUSED = Verdict("key_refused")
TRANSIENT = Verdict("transient", retry=True)
MISSING = Verdict("not_served")
BAD_REQUEST = Verdict("bad_request", fallback=False)
NOT_USABLE = Verdict("not_usable")
UNAVAILABLE = Verdict("unavailable", retry=True, breaker=True)
SERVER_ERROR = Verdict("server_error", retry=True, breaker=True)
CANCELLED = "cancelled"
ANSWERED = "ok"


def judge(error: PenstockError) -> Verdict:
    """The first rule that fits. An error that no rule knows is the caller's: asking again would repeat it."""
    if isinstance(error, NotAskedError):
        return NOT_ASKED
    if isinstance(error, StallError):
        return STALL
    if isinstance(error, DeadlineError):
        return DEADLINE
    if error.code == CONTEXT_LENGTH_EXCEEDED:
        return CONTEXT_LENGTH
    if isinstance(error, RateLimitError):
        return SPENT if error.should_retry is False else RATE_LIMITED
    if isinstance(error, UpstreamRefusedError):
        return _judge_refusal(error.status)
    if isinstance(error, UnavailableError):
        return NOT_USABLE if error.should_retry is False else UNAVAILABLE
    if isinstance(error, UpstreamError):
        return KEY_REFUSED if error.should_retry is False else SERVER_ERROR
    return BAD_REQUEST


def _judge_refusal(status: int) -> Verdict:
    if status in _TRANSIENT:
        return TRANSIENT
    return MISSING if status in _NOT_THE_CALLERS else BAD_REQUEST
