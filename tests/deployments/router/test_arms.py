from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.protocols import Account
from deployments.router.arms import Arm, Experiment, arm_for, unit_of

USERS = [f"user-{number}" for number in range(4000)]


def experiment(*weights: float, id: str = "e1", operation: str | None = None) -> Experiment:
    arms = tuple(Arm(f"arm{number}", f"m{number}", weight) for number, weight in enumerate(weights))
    return Experiment(id, "Trial", operation, arms)


def drawn(*weights: float, id: str = "e1", users: Sequence[str] = USERS) -> list[str]:
    found = [arm_for([experiment(*weights, id=id)], "code", Account("t", user)) for user in users]
    return [pair[1].name if pair else "" for pair in found]


def test_the_same_caller_stays_in_one_arm() -> None:
    assert drawn(1, 1) == drawn(1, 1)


def test_callers_are_spread_by_weight() -> None:
    counts = Counter(drawn(1, 3))
    assert counts["arm1"] / len(USERS) == pytest.approx(0.75, abs=0.03)


def test_experiments_are_independent_of_each_other() -> None:
    together = Counter(zip(drawn(1, 1), drawn(1, 1, id="e2"), strict=True))
    assert all(count / len(USERS) == pytest.approx(0.25, abs=0.03) for count in together.values())


def test_a_change_of_weights_moves_only_whom_it_must() -> None:
    before, after = drawn(1, 1), drawn(1, 3)
    moved = Counter((a, b) for a, b in zip(before, after, strict=True) if a != b)
    assert set(moved) == {("arm0", "arm1")}, "nobody leaves the arm that grew"
    assert moved.total() / len(USERS) == pytest.approx(0.25, abs=0.03)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=4), st.floats(1, 5), st.text(min_size=1))
def test_growth_of_an_arm_never_takes_a_caller_out_of_it(weights: list[float], factor: float, user: str) -> None:
    (before,) = drawn(*weights, users=[user])
    grown = [weight * factor if f"arm{number}" == before else weight for number, weight in enumerate(weights)]
    assert drawn(*grown, users=[user]) == [before]


def test_nobody_is_in_an_arm_without_weight() -> None:
    assert set(drawn(1, 0)) == {"arm0"}
    assert arm_for([experiment(0)], "code", Account("t", "u")) is None


def test_an_experiment_on_one_operation_leaves_the_others_alone() -> None:
    account = Account("t", "u")
    assert arm_for([experiment(1, operation="code")], "factual", account) is None
    found = arm_for([experiment(1, operation="code"), experiment(1, id="e2")], "factual", account)
    assert found is not None
    assert found[0].id == "e2"


@pytest.mark.parametrize(
    ("account", "unit"),
    [
        (Account("t", "u", "k", "a"), "u"),
        (Account("t", "", "k", "a"), "a"),
        (Account("t", "", "k"), "k"),
    ],
)
def test_the_user_is_what_stays_together_then_the_agent_then_the_key(account: Account, unit: str) -> None:
    assert unit_of(account) == unit
