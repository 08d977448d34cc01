"""Times until which a target is left alone because its provider said so, for all replicas alike.

A 429 with `Retry-After` pauses the model it was about, for the key it was about: providers limit each model apart. A
key that was refused, or an account that is spent, pauses all models of that provider for that key.
"""

from collections.abc import Callable
from dataclasses import dataclass

ALL_MODELS = "*"

PauseKey = tuple[str, str, str]
"""(owner, provider, model or ALL_MODELS)."""


@dataclass(frozen=True, slots=True)
class Pause:
    """until: on this process's clock. reason: a failures.Verdict's."""

    until: float
    reason: str


class Pauses:
    """This replica's view; `sharing` tells it to the others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses: dict[PauseKey, Pause] = {}
        self._untold: dict[PauseKey, Pause] = {}

    def add(self, key: PauseKey, seconds: float, reason: str) -> None:
        """Pause. A longer pause that holds already goes on."""
        if seconds <= 0:
            return
        pause = Pause(self._clock() + seconds, reason)
        known = self._pauses.get(key)
        if known is None or known.until < pause.until:
            self._pauses[key] = self._untold[key] = pause

    def of(self, owner: str, provider: str, model: str) -> Pause | None:
        """The pause that holds for a target now, the longer of two."""
        if not self._pauses:
            return None
        found = [self._holding((owner, provider, name)) for name in (model, ALL_MODELS)]
        return max(filter(None, found), key=lambda pause: pause.until, default=None)

    def of_provider(self, owner: str, provider: str) -> dict[str, Pause]:
        """The pauses that hold now, by model."""
        return {
            key[2]: pause
            for key in list(self._pauses)
            if key[:2] == (owner, provider) and (pause := self._holding(key)) is not None
        }

    def take_untold(self) -> dict[PauseKey, Pause]:
        """Pauses that the others do not know yet. Give them back with `not_told` if they could not be told."""
        untold, self._untold = self._untold, {}
        return untold

    def not_told(self, untold: dict[PauseKey, Pause]) -> None:
        """They are told next time."""
        self._untold = {**untold, **self._untold}

    def adopt(self, shared: dict[PauseKey, Pause]) -> None:
        """Take over what all have told."""
        for key in list(self._pauses):
            self._holding(key)
        for key, pause in shared.items():
            known = self._pauses.get(key)
            if known is None or known.until < pause.until:
                self._pauses[key] = pause

    def _holding(self, key: PauseKey) -> Pause | None:
        pause = self._pauses.get(key)
        if pause is not None and pause.until <= self._clock():
            del self._pauses[key]
            return None
        return pause
