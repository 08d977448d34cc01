"""What is to be asked, and how far a run may go."""

from dataclasses import dataclass

from deployments.provider_caller.config import ProviderLimits

OPERATOR = "operator"
"""The owner of keys that the operator configured; any other owner is a tenant's slug."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a provider. owner: whose key and limits it is called with. Of its limits, `max_concurrency` holds for
    each replica, the others for all replicas together."""

    provider: str
    model: str
    owner: str = OPERATOR
    limits: ProviderLimits | None = None
    context_window: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """targets: in order of preference, the routed one first.

    deadline: on the clock of `Attempts` (monotonic seconds). tokens: the prompt's estimated size. max_output: the
    tokens of output that the caller asked for, 0 where it did not say. hedge: whether a second attempt beside the
    first does no harm.
    """

    targets: tuple[Target, ...]
    deadline: float
    tokens: int = 0
    max_output: int = 0
    stream: bool = False
    hedge: bool = False
