"""What the chat service needs of a request, whatever dialect it came in."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from deployments.protocols import Dialect, Usage
from kit.errors import PenstockError
from serve_app.chat.dialects.extras import NO_EXTRAS, Extras


class Gathering(Protocol):
    """Builds the whole answer that a stream of plain text amounts to."""

    def add(self, events: bytes) -> None:
        """Take whole server-sent events in."""
        ...

    def body(self, used: Usage | None) -> bytes | None:
        """The answer as JSON; None when it is more than plain text or did not come to an end. used: for a stream that
        was not asked to tell it."""
        ...


@dataclass(slots=True)
class DialectRequest(ABC):
    """One parsed request. `body` is the whole JSON object without `penstock`; raw: the bytes as they came, None when
    something was taken out of them."""

    dialect: ClassVar[Dialect]
    conversation_field: ClassVar[str]
    """The field that holds the conversation."""
    shapes_nothing: ClassVar[frozenset[str]]
    """Fields that change nothing about the answer's content; they stay out of the cache's key."""

    model: str
    body: dict[str, Any]
    raw: bytes | None
    stream: bool = False
    extras: Extras = NO_EXTRAS

    @property
    @abstractmethod
    def question(self) -> str:
        """The text of the last user input, empty where there is none."""

    @abstractmethod
    def with_system(self, text: str) -> dict[str, Any]:
        """The body with a system text more, after those that the caller gave."""

    @property
    @abstractmethod
    def cost_mark(self) -> re.Pattern[bytes] | None:
        """Finds the event at the end of a stream that tells the usage, in which the cost has its place; None where
        the caller asked for none."""

    @abstractmethod
    def gathering(self) -> Gathering:
        """Collects a stream in this dialect."""

    @abstractmethod
    def replay(self, body: bytes) -> bytes:
        """A stored whole answer as the stream that this request asks for."""

    @abstractmethod
    def error_event(self, error: PenstockError, request_id: str, tail: bytes) -> bytes:
        """An error inside a stream. tail: the events that went out last."""

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return 1

    @property
    def temperature(self) -> float | None:
        """None where the caller names none."""
        return self.body.get("temperature")

    @property
    def conversation(self) -> Sequence[Any]:
        """The turns so far."""
        turns = self.body[self.conversation_field]
        return turns if isinstance(turns, list) else [turns]

    def options(self) -> dict[str, Any]:
        """Every other field that shapes the answer."""
        left_out = self.shapes_nothing
        return {
            name: value
            for name, value in self.body.items()
            if name not in left_out and name not in ("model", self.conversation_field)
        }
