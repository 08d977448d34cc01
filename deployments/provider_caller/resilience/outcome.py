"""What a run gives back, and what it wants to hear when a stream is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deployments.provider_caller.resilience.targets import Target
from kit.errors import PenstockError

T = TypeVar("T")

Ended = Callable[[bool | None, int], None]


@dataclass(slots=True)
class Outcome(Generic[T]):
    """value: what the successful attempt returned. attempts: how many were made, of all targets together. failure: why
    the routed target did not answer, where another one did."""

    value: T
    target: Target
    attempts: int = 1
    failure: PenstockError | None = None
    _ended: Ended | None = field(default=None, repr=False)

    def ended(self, *, complete: bool | None, output_tokens: int = 0) -> None:
        """Call when the answer is over: in a `finally` for every stream, since its slot is held until then.

        complete: whether the provider ended it well; None where the caller left, which says nothing of the provider.
        Once is enough; more do nothing.
        """
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(complete, output_tokens)
