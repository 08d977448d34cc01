"""Confidence intervals of what differs by user: a user's calls are alike, so the user is what is counted.

Means are ratio estimators (sum over calls / number of calls) with the cluster-robust variance of the linearised ratio
(Cochran, Sampling Techniques, 6.4), differences of means Welch's, rates Wilson's with the calls divided by the design
effect, differences of rates Newcombe's (1998, method 10). All with 95 % confidence.
"""

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """low and high are None where too few users are known to say."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is shown."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class PerUser:
    """One figure of one arm: for each user the sum over calls, and the number of calls. float64 [users], the same
    order; every user has a call."""

    sums: NDArray[np.float64]
    calls: NDArray[np.float64]

    @property
    def users(self) -> int:
        """How many."""
        return len(self.calls)

    @property
    def mean(self) -> float:
        """Over calls."""
        return float(self.sums.sum() / self.calls.sum())

    @property
    def variance(self) -> float:
        """Of the mean; infinite for a single user."""
        if self.users < 2:
            return inf
        residuals = self.sums - self.mean * self.calls
        scale = self.users / (self.users - 1) / self.calls.sum() ** 2
        return float(scale * (residuals**2).sum())


def mean_interval(figure: PerUser, least_users: int) -> Interval:
    """A mean over calls."""
    if figure.users < least_users:
        return Interval(figure.mean)
    return _around(figure.mean, figure.variance, figure.users - 1)


def mean_difference(figure: PerUser, base: PerUser, least_users: int) -> Interval:
    """Mean of `figure` less that of `base`."""
    value = figure.mean - base.mean
    if min(figure.users, base.users) < least_users:
        return Interval(value)
    parts = [(one.variance, one.users - 1) for one in (figure, base)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(value, value, value)
    return _around(value, variance, variance**2 / sum(part**2 / freedom for part, freedom in parts))


def rate_interval(figure: PerUser, least_users: int) -> Interval:
    """A share of calls."""
    if figure.users < least_users:
        return Interval(figure.mean)
    return Interval(figure.mean, *_wilson(figure))


def rate_difference(figure: PerUser, base: PerUser, least_users: int) -> Interval:
    """Share of `figure` less that of `base`."""
    value = figure.mean - base.mean
    if min(figure.users, base.users) < least_users:
        return Interval(value)
    (low, high), (base_low, base_high) = _wilson(figure), _wilson(base)
    below = sqrt((figure.mean - low) ** 2 + (base_high - base.mean) ** 2)
    above = sqrt((high - figure.mean) ** 2 + (base.mean - base_low) ** 2)
    return Interval(value, value - below, value + above)


def t_quantile(freedom: float) -> float:
    """Of Student's distribution at the upper end of the confidence, by the Cornish-Fisher expansion (Abramowitz and
    Stegun 26.7.5): within 0.5 % from 4 degrees of freedom on."""
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _around(value: float, variance: float, freedom: float) -> Interval:
    half = t_quantile(freedom) * sqrt(variance)
    return Interval(value, value - half, value + half)


def _wilson(figure: PerUser) -> tuple[float, float]:
    rate, calls = figure.mean, _effective_calls(figure)
    # As in _around: users, and not calls, are the degrees of freedom.
    z = t_quantile(figure.users - 1)
    centre = (rate + z**2 / (2 * calls)) / (1 + z**2 / calls)
    half = z / (1 + z**2 / calls) * sqrt(rate * (1 - rate) / calls + z**2 / (4 * calls**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _effective_calls(figure: PerUser) -> float:
    """Independent calls that would say as much. Where all went alike, nothing tells how alike users' calls are, and
    each user counts once."""
    rate, calls = figure.mean, float(figure.calls.sum())
    binomial = rate * (1 - rate) / calls
    if binomial == 0 or figure.variance == 0:
        return float(figure.users)
    return max(1.0, calls / max(1.0, figure.variance / binomial))
