"""What a part of money says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """Whether a part works in full; `message` says what it does without."""

    healthy: bool
    message: str = ""
