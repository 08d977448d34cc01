import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.latencies import LatencySummary, percentile
from load.load_run import LoadResult

samples = st.lists(st.integers(0, 10**9), min_size=1, max_size=300)
percents = st.integers(1, 100)


@given(samples, percents)
def test_a_percentile_is_the_least_sample_that_enough_samples_do_not_exceed(values, percent):
    found = percentile(sorted(values), percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@given(samples, percents, percents)
def test_percentiles_do_not_fall(values, one, other):
    ordered = sorted(values)
    low, high = sorted((one, other))
    assert percentile(ordered, low) <= percentile(ordered, high)


@given(samples, st.randoms(use_true_random=False))
def test_a_summary_does_not_depend_on_the_order(values, random):
    shuffled = values[:]
    random.shuffle(shuffled)
    assert LatencySummary.of(shuffled) == LatencySummary.of(values)


@given(samples, samples)
def test_two_rounds_are_summarised_as_one_run(first, second):
    both = LoadResult(elapsed=1, latencies=first) + LoadResult(elapsed=2, latencies=second)
    assert both.latency == LatencySummary.of(first + second)
    assert both.latency.max == max(first + second) / 1000
    assert both.requests_per_second == pytest.approx((len(first) + len(second)) / 3)


def test_known_percentiles():
    hundred = range(1, 101)
    assert [percentile(hundred, p) for p in (1, 7, 50, 95, 99, 100)] == [1, 7, 50, 95, 99, 100]
    assert percentile([5], 50) == 5


def test_counts_of_rounds_add_up():
    first = LoadResult(errors={"timeout": 1}, statuses={"200": 2}, sample="", error_sample="a")
    second = LoadResult(errors={"timeout": 2, "not HTTP": 1}, statuses={"200": 1}, sample="b", error_sample="c")
    both = first + second
    assert both.errors == {"timeout": 3, "not HTTP": 1}
    assert both.statuses == {"200": 3}
    assert (both.sample, both.error_sample) == ("b", "a")


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 101)])
def test_percentiles_that_do_not_exist_are_refused(values, percent):
    with pytest.raises(ValueError, match=r"samples|percent"):
        percentile(values, percent)


def test_no_samples_have_no_summary():
    assert LatencySummary.of([]) is None
