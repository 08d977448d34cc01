"""A rendered answer: whole, and as the events of a stream. What a dialect makes and the server plays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from load.simulator.generation import Generation
from load.simulator.prompt import Prompt
from load.simulator.prompt_cache import InputTokens


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything that the bytes of an answer depend on besides the number of the call."""

    provider: str
    model: str
    generation: Generation
    input: InputTokens
    include_usage: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    searches: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream. `name`: of the SSE `event:` line, empty for none. `output`: bytes of text, reasoning and
    arguments that it carries. `states_input`, `states_usage`: what the reader knows of the bill once it has this.
    `ends`: it says that the stream is whole."""

    content: dict[str, Any] | str
    name: str = ""
    output: int = 0
    states_input: bool = False
    states_usage: bool = False
    ends: bool = False

    @property
    def data(self) -> bytes:
        """As it is sent."""
        head = b"event: " + self.name.encode() + b"\n" if self.name else b""
        body = self.content.encode() if isinstance(self.content, str) else orjson.dumps(self.content)
        return head + b"data: " + body + b"\n\n"


class Dialect(Protocol):
    """A protocol of chat."""

    kind: str

    def read(self, body: dict[str, Any]) -> Prompt:
        """What a valid body asks for."""
        ...

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The answer in one piece."""
        ...

    def events(self, reply: Reply) -> Iterator[Event]:
        """The same answer as a stream, its end included."""
        ...

    def failed(self, reply: Reply, error: dict[str, Any]) -> dict[str, Any]:
        """A body that says with status 200 that it went wrong. error: the provider's error body."""
        ...

    def failure(self, reply: Reply, error: dict[str, Any], *, begun: bool) -> Event:
        """The same as an event of a stream. begun: whether the stream had brought anything."""
        ...

    def cost(self, reply: Reply) -> int | None:
        """Nano-dollars that the answer states for itself; None where this provider states none."""
        ...
