"""What a request asks for, in words that all dialects share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from load.simulator.tokens import tokens_of

DEFAULT_ANSWER = -1
"""`max_tokens` of a request that states none."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function that the model may call. schema: JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(slots=True)
class Prompt:
    """`texts`: all that counts as input, in order: instructions, messages, tool results. `breakpoints`: how many of
    them lie before each cache mark, with the mark's time to live (Anthropic). `tool_choice`: `auto`, `none`,
    `required`, or `=NAME` for one function. `schema`: what the answer must conform to, None for free text."""

    model: str
    texts: list[str]
    last_user: str = ""
    after_tool: bool = False
    stream: bool = False
    include_usage: bool = False
    max_tokens: int = DEFAULT_ANSWER
    stop: tuple[str, ...] = ()
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    schema: dict[str, Any] | None = None
    reasons: bool = False
    searches: bool = False
    breakpoints: list[tuple[int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all texts."""
        return sum(len(text) if text.isascii() else len(text.encode()) for text in self.texts)

    @property
    def tokens(self) -> int:
        """Input tokens: at least one."""
        return max(1, tokens_of(self.size))


def content_texts(content: Any) -> Iterator[str]:
    """The texts of a message's content: a string, or its text parts and the texts of its tool results."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, dict):
                continue
            text = part.get("text")
            if isinstance(text, str):
                yield text
            elif part.get("type") == "tool_result":
                yield from content_texts(part.get("content"))


def function_specs(tools: Any) -> tuple[ToolSpec, ...]:
    """Functions as chat completions (`{"function": {...}}`), responses and messages (flat) define them."""
    found = []
    for tool in tools or ():
        function = tool.get("function") or tool
        if "name" in function and tool.get("type", "function") in ("function", "custom"):
            schema = function.get("parameters") or function.get("input_schema") or {}
            found.append(ToolSpec(function["name"], schema))
    return tuple(found)


def stop_words(value: Any) -> tuple[str, ...]:
    """One string or several."""
    return (value,) if isinstance(value, str) else tuple(value or ())
