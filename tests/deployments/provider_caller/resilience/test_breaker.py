import pytest

from deployments.provider_caller.resilience.breaker import Breaker
from deployments.provider_caller.resilience.config import BreakerConfig

CONFIG = BreakerConfig()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(CONFIG)


def opened(breaker: Breaker, now: float = 0.0) -> float:
    """Opens it; the moment at which it lets a call try."""
    assert [breaker.failed(now) for _ in range(5)] == [False] * 4 + [True]
    return breaker.reopens


def test_five_failures_in_a_row_open_it(breaker: Breaker) -> None:
    for _ in range(4):
        breaker.failed(0)
    assert breaker.state(0) == "closed"
    breaker.failed(0)
    assert breaker.state(0) == "open"


def test_a_success_between_begins_the_row_again(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.succeeded(0)
    for outcome in (breaker.failed, breaker.succeeded, breaker.failed):
        for _ in range(4):
            outcome(0)
    assert breaker.state(0) == "closed"


def test_more_than_half_of_the_calls_within_a_minute_open_it(breaker: Breaker) -> None:
    for second in range(4):
        breaker.failed(second)
        breaker.succeeded(second)
    breaker.failed(10)  # Five of nine, never two in a row.
    assert breaker.state(10) == "open"


def test_failures_older_than_a_minute_are_forgotten(breaker: Breaker) -> None:
    for second in range(4):
        breaker.failed(second)
        breaker.succeeded(second)
    breaker.failed(70)
    assert breaker.state(70) == "closed"


def test_half_of_the_calls_is_not_more_than_half(breaker: Breaker) -> None:
    for second in range(20):
        breaker.succeeded(second)
        breaker.failed(second)
    assert breaker.state(20) == "closed"


def test_streams_that_begin_and_break_off_open_it(breaker: Breaker) -> None:
    for second in range(5):
        breaker.succeeded(second)
        breaker.broke_off(second)
    assert breaker.state(5) == "open"


def test_after_its_time_it_is_half_open_and_a_success_closes_it(breaker: Breaker) -> None:
    reopens = opened(breaker)
    assert breaker.state(reopens - 0.1) == "open"
    assert breaker.state(reopens) == "half_open"
    assert breaker.try_trial()
    assert breaker.tried(reopens, well=True)
    assert breaker.state(reopens) == "closed"
    assert breaker.failures(reopens) == 0


def test_a_failed_trial_doubles_the_time_up_to_its_bound(breaker: Breaker) -> None:
    now, waits = 0.0, []
    opened(breaker)
    for _ in range(4):
        waits.append(breaker.reopens - now)
        now = breaker.reopens
        assert breaker.try_trial()
        breaker.tried(now, well=False)
    assert waits == [15, 30, 60, 60]


def test_trials_are_bounded_and_an_abandoned_one_frees_its_place(breaker: Breaker) -> None:
    opened(breaker)
    assert [breaker.try_trial() for _ in range(3)] == [True, True, False]
    breaker.abandoned()
    assert breaker.try_trial()


def test_calls_that_began_before_it_opened_change_nothing(breaker: Breaker) -> None:
    reopens = opened(breaker)
    breaker.succeeded(1)
    breaker.failed(1)
    assert breaker.reopens == reopens
    assert breaker.state(1) == "open"


def test_there_is_nothing_to_tell_while_no_call_fails(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.succeeded(0)
    assert breaker.report(0) is None


def test_what_could_not_be_told_is_told_later(breaker: Breaker) -> None:
    breaker.succeeded(0)
    breaker.failed(0)
    report = breaker.report(0)
    assert report is not None
    breaker.failed(1)
    breaker.not_told(report)
    again = breaker.report(1)
    assert again is not None
    assert again.run == 2
    assert again.fresh
    assert sum(bad for _, _, bad in again.counts) == 2
