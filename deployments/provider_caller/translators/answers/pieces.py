"""An answer in pieces that belong to no dialect: what readers make of a provider's answer, and writers write.

The order is strict, as the strictest dialect wants it: Began, then parts one after the other (PartBegan, PartDelta…,
Cited…, PartEnded), Counted whenever counts are stated, Ended. A whole answer is the same pieces with whole texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deployments.provider_caller.translators.answers.token_counts import TokenCounts

PartKind = Literal["text", "refusal", "reasoning", "function_call", "custom_call"]

StopReason = Literal[
    "stop", "stop_sequence", "length", "context_window", "pause", "tool_calls", "content_filter", "refusal"
]
"""Why the model stopped: of itself, at a stop sequence, at the token limit, at the end of its context window, in the
middle of a long turn of hosted tools, to have tools called, by a filter, by refusing."""

CUT = frozenset[StopReason]({"length", "context_window", "pause"})
"""The reasons that leave an answer unfinished."""


@dataclass(frozen=True, slots=True)
class Began:
    """id: the provider's own. created: Unix seconds, None where the dialect does not say."""

    id: str
    model: str
    created: int | None = None


@dataclass(frozen=True, slots=True)
class PartBegan:
    """call_id and name: of a tool call."""

    kind: PartKind
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class PartDelta:
    """More of the open part: text, or JSON of a function call's arguments."""

    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """The open text part cites a page. start and end: characters of that part."""

    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PartEnded:
    """state: what the provider wants back with the reasoning (see reasoning_state), sealed; empty for none."""

    state: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """The token counts by now; later ones replace earlier ones."""

    counts: TokenCounts


@dataclass(frozen=True, slots=True)
class Ended:
    """stop_sequence: the one that was met, where the dialect says."""

    reason: StopReason
    stop_sequence: str | None = None


Piece = Began | PartBegan | PartDelta | Cited | PartEnded | Counted | Ended


class StreamReader(Protocol):
    """Reads a provider's stream, event by event. Raises UpstreamError for what the dialect does not allow."""

    def read(self, event: Mapping[str, Any]) -> Sequence[Piece]:
        """What one event says."""
        ...

    def end(self) -> Sequence[Piece]:
        """What is left when the provider has ended the stream well. Raises UpstreamError where it was not complete."""
        ...


class StreamWriter(Protocol):
    """Writes an answer in a caller's dialect."""

    def write(self, piece: Piece) -> Sequence[dict[str, Any]]:
        """The events for one piece."""
        ...

    def end(self) -> Sequence[dict[str, Any]]:
        """The events that close the stream. How it ended is told here and nowhere before."""
        ...


def whole_part(
    kind: PartKind, text: str, *, call_id: str = "", name: str = "", cited: Sequence[Cited] = (), state: str = ""
) -> list[Piece]:
    """The pieces of a part that is known in full."""
    delta = [PartDelta(text)] if text else []
    return [PartBegan(kind, call_id, name), *delta, *cited, PartEnded(state)]
