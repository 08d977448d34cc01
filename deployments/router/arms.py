"""Puts callers into the arms of A/B experiments: by weight, always the same caller into the same arm.

Weighted rendezvous hashing (Mosharaf et al.; Schindelhauer and Schomaker, 2005): each arm draws a score from the hash
of experiment, arm and caller, and the best score wins. A change of weights moves only those callers whom the new
weights require to move; a new arm takes from the others only what it gets.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.protocols import Account


@dataclass(frozen=True, slots=True)
class Arm:
    """model: a model id, provider/model, or an `auto` policy. weight: relative to the other arms; 0: nobody."""

    name: str
    model: str
    weight: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """operation: the operation type whose questions take part, None: all."""

    id: str
    name: str
    operation: str | None
    arms: tuple[Arm, ...]


def arm_for(experiments: Sequence[Experiment], operation: str, account: Account) -> tuple[Experiment, Arm] | None:
    """The first running experiment that a question belongs to, and the caller's arm in it."""
    for experiment in experiments:
        if experiment.operation in (None, operation):
            arm = _drawn(experiment, unit_of(account))
            if arm is not None:
                return experiment, arm
    return None


def arms_of(experiments: Sequence[Experiment], account: Account) -> tuple[str, ...]:
    """Each running experiment with the caller's arm in it."""
    drawn = ((experiment, _drawn(experiment, unit_of(account))) for experiment in experiments)
    return tuple(f"{experiment.id}:{arm.name}" for experiment, arm in drawn if arm is not None)


def unit_of(account: Account) -> str:
    """Who stays in one arm: the user, else the agent, else the key."""
    return account.user_id or account.agent_id or account.key_id


def _drawn(experiment: Experiment, unit: str) -> Arm | None:
    best, least = None, math.inf
    for arm in experiment.arms:
        if arm.weight > 0:
            # An exponential variable with rate `weight`: the least of several is this one with probability
            # weight / sum of weights.
            score = -math.log(_uniform(f"{experiment.id}|{arm.name}|{unit}")) / arm.weight
            if score < least:
                best, least = arm, score
    return best


def _uniform(text: str) -> float:
    """A number above 0 and at most 1 that is fixed by the text."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest) + 1) / 2**64
