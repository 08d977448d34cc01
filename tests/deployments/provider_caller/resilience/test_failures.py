import pytest

from deployments.provider_caller.refusals import ContextWindowError, KeyRefusedError
from deployments.provider_caller.resilience import failures
from deployments.provider_caller.resilience.context_window import PromptTooLongError
from deployments.provider_caller.resilience.failures import NotAskedError, StallError, Verdict, judge
from kit.errors import (
    DeadlineError,
    PenstockError,
    RateLimitError,
    UnavailableError,
    UpstreamError,
    UpstreamRefusedError,
    ValidationError,
)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (UpstreamError("500"), failures.SERVER_ERROR),
        (UnavailableError("529"), failures.UNAVAILABLE),
        (UnavailableError("the base URL is wrong", should_retry=False), failures.NOT_USABLE),
        (StallError("did not begin"), failures.STALL),
        (DeadlineError("time is over"), failures.DEADLINE),
        (RateLimitError("429"), failures.RATE_LIMITED),
        (RateLimitError("insufficient_quota", should_retry=False), failures.SPENT),
        (KeyRefusedError("401", provider_status=401), failures.KEY_REFUSED),
        (ContextWindowError("too long"), failures.CONTEXT_LENGTH),
        (PromptTooLongError("too long"), failures.CONTEXT_LENGTH),
        (UpstreamRefusedError("bad schema", status=400), failures.BAD_REQUEST),
        (UpstreamRefusedError("bad schema", status=422), failures.BAD_REQUEST),
        (UpstreamRefusedError("no such model", status=404), failures.MISSING),
        (UpstreamRefusedError("try again", status=408), failures.TRANSIENT),
        (ValidationError("cannot be translated"), failures.BAD_REQUEST),
        (NotAskedError("its breaker is open"), failures.NOT_ASKED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PenstockError) else value.reason,
)
def test_each_error_means_one_thing(error: PenstockError, verdict: Verdict) -> None:
    assert judge(error) is verdict


def test_only_what_the_provider_did_wrong_counts_against_it() -> None:
    verdicts = [value for value in vars(failures).values() if isinstance(value, Verdict)]
    assert {verdict.reason for verdict in verdicts if verdict.breaker} == {"server_error", "unavailable", "stall"}
