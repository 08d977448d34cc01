"""Puts the parts of an answer one after the other.

Providers may send parallel tool calls in turns. The first open part is passed on as it comes; what comes of later ones
meanwhile is held until their turn.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from deployments.provider_caller.translators.answers.pieces import Cited, PartBegan, PartDelta, PartEnded, Piece
from kit.errors import UpstreamError


@dataclass(slots=True)
class _Part:
    began: PartBegan
    held: list[Piece] = field(default_factory=list)
    ended: PartEnded | None = None


class Sequencer:
    """A key is whatever tells a provider's parts apart."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Part] = {}  # In the order in which they began; the first one is being passed on.

    def __contains__(self, key: Hashable) -> bool:
        return key in self._open

    @property
    def first(self) -> Hashable | None:
        """The part that is being passed on."""
        return next(iter(self._open), None)

    @property
    def waiting(self) -> bool:
        """Whether parts wait for the first one to end."""
        return len(self._open) > 1

    def begin(self, key: Hashable, began: PartBegan) -> list[Piece]:
        """A new part."""
        if key in self._open:
            raise UpstreamError("The provider began a part of its answer twice.")
        self._open[key] = _Part(began)
        return [began] if len(self._open) == 1 else []

    def add(self, key: Hashable, piece: PartDelta | Cited) -> list[Piece]:
        """More of an open part."""
        part = self._open.get(key)
        if part is None or part.ended:
            raise UpstreamError("The provider went on with a part of its answer that is not open.")
        if key == self.first:
            return [piece]
        part.held.append(piece)
        return []

    def end(self, key: Hashable, state: str = "") -> list[Piece]:
        """A part is complete. Nothing happens where it is not open: providers end parts in more than one way."""
        part = self._open.get(key)
        if part is None or part.ended:
            return []
        part.ended = PartEnded(state)
        return self._advance()

    def end_all(self) -> list[Piece]:
        """The answer is complete."""
        pieces: list[Piece] = []
        while self._open:
            pieces += self.end(self.first)
        return pieces

    def _advance(self) -> list[Piece]:
        pieces: list[Piece] = []
        while self._open:
            key, part = next(iter(self._open.items()))
            if part.ended is None:
                break
            pieces.append(part.ended)
            del self._open[key]
            following = next(iter(self._open.values()), None)
            if following:
                pieces += [following.began, *following.held]
                following.held.clear()
        return pieces
