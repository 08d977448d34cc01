"""Whether a planted difference is found, and one that is not there is not: over many seeded trials."""

from dataclasses import astuple, dataclass

import numpy as np
import pytest

from serve_app.experiments import schemas
from serve_app.experiments.intervals import Interval, PerUser, mean_interval, rate_difference, rate_interval, t_quantile
from serve_app.experiments.report import LEAST_USERS, UserCalls, report

ARMS = [schemas.Arm(name="old", model="auto"), schemas.Arm(name="new", model="auto:cost")]
TRIALS = 300


@dataclass(frozen=True)
class Arm:
    """What an arm is like: mean seconds, dollars, share that succeeds."""

    seconds: float = 2.0
    dollars: float = 0.002
    success: float = 0.95


def users(arm: Arm, source: np.random.Generator, count: int = 60) -> list[UserCalls]:
    """Users differ: some ask much, some ask what takes long, some are unlucky."""
    found = []
    for _ in range(count):
        calls = int(source.integers(1, 20))
        pace = source.lognormal(0, 0.4)
        luck = source.beta(arm.success * 20, (1 - arm.success) * 20)
        found.append(
            UserCalls(
                calls,
                int(source.binomial(calls, luck)),
                calls,
                int(1e9 * arm.dollars * pace * source.lognormal(0, 0.3, calls).sum()),
                1e3 * arm.seconds * pace * source.lognormal(0, 0.5, calls).sum(),
            )
        )
    return found


def difference(old: Arm, new: Arm, seed: int) -> schemas.Difference:
    source = np.random.default_rng(seed)
    return report(ARMS, {"old": users(old, source), "new": users(new, source)}).differences[0]


FIGURES = ("success_rate", "cost_usd", "latency_ms")


def test_where_there_is_no_difference_one_in_twenty_is_shown() -> None:
    shown = [[getattr(difference(Arm(), Arm(), seed), name).shown for name in FIGURES] for seed in range(TRIALS)]
    rates = np.mean(shown, axis=0)
    # Three standard deviations of 300 throws at 5 %: 3.8 points.
    assert all(0.005 <= rate <= 0.088 for rate in rates), dict(zip(FIGURES, rates, strict=True))


def test_a_planted_difference_is_found() -> None:
    better = Arm(seconds=1.4, dollars=0.0014, success=0.80)
    found = [difference(Arm(), better, seed) for seed in range(100)]
    for name in FIGURES:
        assert np.mean([getattr(one, name).shown for one in found]) >= 0.9, name
    assert all(one.latency_ms.value and one.latency_ms.value < 0 for one in found)


def test_users_are_counted_and_not_their_calls() -> None:
    # Eight users, four of whom always fail: a thousand calls each do not make that more certain.
    few = PerUser(np.array([1.0, 0, 1, 0, 1, 0, 1, 0]), np.ones(8))
    many = PerUser(few.sums * 1000, few.calls * 1000)
    assert astuple(rate_interval(many, 5)) == pytest.approx(astuple(rate_interval(few, 5)))


def test_calls_of_users_who_are_all_alike_count_each() -> None:
    alike = PerUser(np.array([8.0, 9, 8, 9, 7, 8, 8, 9] * 4), np.full(32, 10.0))
    found = rate_interval(alike, 5)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.1


def test_a_rate_without_a_failure_is_not_certain() -> None:
    perfect = PerUser(np.full(10, 3.0), np.full(10, 3.0))
    found = rate_interval(perfect, 5)
    assert found.high == 1
    assert found.low is not None
    assert 0.6 < found.low < 0.8
    assert not rate_difference(perfect, perfect, 5).excludes_zero


def test_few_users_get_no_interval() -> None:
    one = PerUser(np.array([2.0]), np.array([1.0]))
    assert mean_interval(one, LEAST_USERS) == Interval(2.0)
    arm = [UserCalls(3, 3, 3, 1000, 30.0)] * (LEAST_USERS - 1)
    latency = report(ARMS, {"old": arm, "new": arm}).differences[0].latency_ms
    assert (latency.shown, latency.low) == (False, None)
    assert latency.sentence == "Latency: too few users to say (4 in one arm, 5 are needed)."


def test_an_arm_without_calls_has_no_figures() -> None:
    found = report(ARMS, {"old": [UserCalls(1, 1, 0, 0, 5.0)] * 9})
    assert [arm.calls for arm in found.arms] == [9, 0]
    assert found.arms[1].latency_ms == schemas.Estimate(value=None, low=None, high=None)
    assert found.arms[0].cost_usd.value is None, "no call has a known cost"
    assert found.differences[0].cost_usd.sentence == "Cost: nothing is known of one of the arms yet."


def test_sentences_say_which_way_and_how_sure() -> None:
    source = np.random.default_rng(1)
    found = report(ARMS, {"old": users(Arm(), source), "new": users(Arm(seconds=1.0), source)}).differences[0]
    assert found.latency_ms.sentence.startswith("Latency: 'new' is ")
    assert " ms faster than 'old' (95 % interval -" in found.latency_ms.sentence
    assert found.success_rate.sentence.startswith("Success: no difference between 'new' and 'old' is shown (95 %")


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.7764), (10, 2.2281), (30, 2.0423), (1e9, 1.95996)])
def test_students_quantile(freedom: float, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=5e-3)
