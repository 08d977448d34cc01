"""What came of an experiment, by arm, and against its first arm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.experiments import schemas
from serve_app.experiments.intervals import (
    CONFIDENCE,
    Interval,
    PerUser,
    mean_difference,
    mean_interval,
    rate_difference,
    rate_interval,
)

LEAST_USERS = 5
"""In an arm; with fewer no interval is worth its name."""

NOTE = (
    "A user's calls stay in one arm and are alike, so users are what is counted. Intervals hold for one look at a time "
    "that was chosen beforehand: who looks again and again and stops at the first difference finds differences that "
    "are none. With several arms or figures, one in twenty is shown by chance alone."
)


@dataclass(frozen=True, slots=True)
class UserCalls:
    """One user's calls in one arm. cost: nano-dollars of those whose cost is known; latency: milliseconds of all."""

    calls: int
    succeeded: int
    priced: int
    cost: int
    latency: float


Estimator = Callable[[PerUser, int], Interval]
Comparer = Callable[[PerUser, PerUser, int], Interval]


@dataclass(frozen=True, slots=True)
class _Figure:
    """words: (what it is called, its unit, more, less, decimals)."""

    of: Callable[[Sequence[UserCalls]], PerUser | None]
    estimate: Estimator
    compare: Comparer
    words: tuple[str, str, str, str, int]


def _per_user(sums: Sequence[float], calls: Sequence[int]) -> PerUser | None:
    weights = np.asarray(calls, np.float64)
    known = weights > 0
    return PerUser(np.asarray(sums, np.float64)[known], weights[known]) if known.any() else None


FIGURES = {
    "success_rate": _Figure(
        lambda users: _per_user([u.succeeded for u in users], [u.calls for u in users]),
        rate_interval,
        rate_difference,
        ("Success", "percentage points", "higher", "lower", 2),
    ),
    "cost_usd": _Figure(
        lambda users: _per_user([u.cost / 1e9 for u in users], [u.priced for u in users]),
        mean_interval,
        mean_difference,
        ("Cost", "dollars a call", "dearer", "cheaper", 6),
    ),
    "latency_ms": _Figure(
        lambda users: _per_user([u.latency for u in users], [u.calls for u in users]),
        mean_interval,
        mean_difference,
        ("Latency", "ms", "slower", "faster", 0),
    ),
}


def report(arms: Sequence[schemas.Arm], users: Mapping[str, Sequence[UserCalls]]) -> schemas.Report:
    """users: by arm, one entry for each user."""
    return schemas.Report(
        confidence=CONFIDENCE,
        arms=[_arm(arm, users.get(arm.name, ())) for arm in arms],
        differences=[
            schemas.Difference(
                arm=arm.name,
                against=arms[0].name,
                **{name: _difference(name, arm, arms[0], users) for name in FIGURES},
            )
            for arm in arms[1:]
        ],
        note=NOTE,
    )


def _arm(arm: schemas.Arm, users: Sequence[UserCalls]) -> schemas.ArmReport:
    return schemas.ArmReport(
        **arm.model_dump(),
        calls=sum(user.calls for user in users),
        users=len(users),
        priced_calls=sum(user.priced for user in users),
        **{name: _estimate(figure, users) for name, figure in FIGURES.items()},
    )


def _estimate(figure: _Figure, users: Sequence[UserCalls]) -> schemas.Estimate:
    known = figure.of(users)
    found = figure.estimate(known, LEAST_USERS) if known is not None else None
    return schemas.Estimate(
        value=found.value if found else None, low=found.low if found else None, high=found.high if found else None
    )


def _difference(
    name: str, arm: schemas.Arm, base: schemas.Arm, users: Mapping[str, Sequence[UserCalls]]
) -> schemas.Comparison:
    figure = FIGURES[name]
    mine, others = figure.of(users.get(arm.name, ())), figure.of(users.get(base.name, ()))
    if mine is None or others is None:
        sentence = f"{figure.words[0]}: nothing is known of one of the arms yet."
        return schemas.Comparison(value=None, low=None, high=None, shown=False, sentence=sentence)
    found = figure.compare(mine, others, LEAST_USERS)
    fewest = min(mine.users, others.users)
    return schemas.Comparison(
        value=found.value,
        low=found.low,
        high=found.high,
        shown=found.excludes_zero,
        sentence=_sentence(figure, found, arm.name, base.name, fewest),
    )


def _sentence(figure: _Figure, found: Interval, arm: str, base: str, fewest: int) -> str:
    subject, unit, more, less, decimals = figure.words
    scale = 100 if unit == "percentage points" else 1
    if found.low is None or found.high is None:
        return f"{subject}: too few users to say ({fewest} in one arm, {LEAST_USERS} are needed)."
    low, high = found.low * scale, found.high * scale
    interval = f"95 % interval {low:+.{decimals}f} to {high:+.{decimals}f} {unit}"
    if not found.excludes_zero:
        return f"{subject}: no difference between {arm!r} and {base!r} is shown ({interval})."
    word = more if found.value > 0 else less
    return f"{subject}: {arm!r} is {abs(found.value) * scale:.{decimals}f} {unit} {word} than {base!r} ({interval})."
