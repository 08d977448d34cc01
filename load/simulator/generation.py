"""Answers, made from the seed and the prompt alone; what all dialects render."""

import functools
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from load.simulator.prompt import DEFAULT_ANSWER, Prompt, ToolSpec
from load.simulator.tokens import answer_tokens, padded, pieces, tokens_of

SERIAL = "0serial00000"
"""Stands for the number of the call in everything that is rendered; it has as many bytes as the number will have."""
REASONING_TOKENS = 8
VARIANTS = 64
"""How many answers there are; the prompt picks one. Few, so that rendered answers can be kept."""
_LENGTH = re.compile(r"\[\[tokens:(\d{1,6})\]\]")
_MARK_ALL, _MARK_ONE = "[[tools]]", "[[tool]]"

Finish = Literal["stop", "length", "tool_calls", "stop_sequence"]


@dataclass(frozen=True, slots=True, eq=False)
class ToolCall:
    """index: its place among the calls of the answer. arguments: JSON, cut where the answer had to end."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """`tokens` of the text; no text where tools are called. stop_word: the one that ended it."""

    tokens: tuple[str, ...]
    tool_calls: tuple[ToolCall, ...]
    finish: Finish
    stop_word: str | None = None

    @property
    def text(self) -> str:
        """All tokens."""
        return "".join(self.tokens)

    @property
    def size(self) -> int:
        """Bytes of text and arguments."""
        return sum(map(len, self.tokens)) + sum(len(call.arguments) for call in self.tool_calls)


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """One answer with its choices. Compared by identity: the same request gets the same object."""

    reasoning: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def output_tokens(self) -> int:
        """What the provider charges as output, hidden reasoning included."""
        return tokens_of(sum(map(len, self.reasoning)) + sum(choice.size for choice in self.choices))

    @property
    def steps(self) -> int:
        """Tokens one after the other, for timing."""
        return max(1, len(self.reasoning) + max(tokens_of(choice.size) for choice in self.choices))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Everything that an answer depends on. tools and schema are JSON, so that it can be hashed."""

    seed: int
    variant: int
    length: int
    limit: int
    stop: tuple[str, ...]
    choices: int
    reasons: bool
    tools: tuple[tuple[str, bytes], ...]
    schema: bytes


class Generator:
    """seed: the same seed and prompt give the same answer. length: tokens of an answer that nothing shortens."""

    def __init__(self, seed: int, length: int) -> None:
        self.seed = seed
        self.length = length

    def answer(self, prompt: Prompt) -> Generation:
        """The whole answer. `[[tokens:N]]` in the last user message sets its length, `[[tool]]` and `[[tools]]` let
        it call the first tool or each of them once."""
        variant = variant_of("\n".join(prompt.texts), prompt.model)
        length = self.length
        if "[[" in prompt.last_user and (stated := _LENGTH.search(prompt.last_user)):
            length = int(stated[1])
        called = _called(prompt) if prompt.tools else ()
        shape = _Shape(
            self.seed,
            variant,
            length,
            prompt.max_tokens,
            prompt.stop,
            prompt.choices,
            prompt.reasons,
            tuple((tool.name, orjson.dumps(tool.schema)) for tool in called),
            b"" if prompt.schema is None or called else orjson.dumps(prompt.schema),
        )
        return _generation(shape)


def variant_of(text: str, model: str) -> int:
    """Which of the answers a prompt gets. text: all its texts, a line each."""
    return zlib.crc32(text.encode(), zlib.crc32(model.encode())) % VARIANTS


def _called(prompt: Prompt) -> tuple[ToolSpec, ...]:
    choice = prompt.tool_choice
    if choice == "none":
        return ()
    if choice.startswith("="):
        return tuple(tool for tool in prompt.tools if tool.name == choice[1:])
    if _MARK_ALL in prompt.last_user and not prompt.after_tool:
        return prompt.tools
    wanted = choice == "required" or (_MARK_ONE in prompt.last_user and not prompt.after_tool)
    return prompt.tools[:1] if wanted else ()


@functools.lru_cache(maxsize=4096)
def _generation(shape: _Shape) -> Generation:
    left = shape.limit if shape.limit != DEFAULT_ANSWER else 1 << 40
    reasoning = answer_tokens(shape.seed, VARIANTS + shape.variant, REASONING_TOKENS)[:left] if shape.reasons else ()
    left -= len(reasoning)
    choices = tuple(_choice(shape, number, left) for number in range(shape.choices))
    return Generation(reasoning, choices)


def _choice(shape: _Shape, number: int, left: int) -> Choice:
    if shape.tools:
        return _tool_choice(shape, left)
    if shape.schema:
        tokens = pieces(_conforming(shape.schema))
    else:
        tokens = answer_tokens(shape.seed, shape.variant + number * 2 * VARIANTS, shape.length)
    cut = len(tokens) > left
    tokens = tokens[:left]
    text = "".join(tokens)
    found = [(text.index(word), word) for word in shape.stop if word and word in text]
    if found:
        end, word = min(found)
        return Choice(pieces(text[:end]), (), "stop_sequence", word)
    return Choice(tokens, (), "length" if cut else "stop")


def _tool_choice(shape: _Shape, left: int) -> Choice:
    calls = []
    for index, (name, schema) in enumerate(shape.tools):
        arguments = _conforming(schema)
        kept = arguments[: max(0, left) * 4]
        left -= tokens_of(len(arguments))
        if kept:
            calls.append(ToolCall(index, name, kept))
    return Choice((), tuple(calls), "length" if left < 0 else "tool_calls")


def _conforming(schema: bytes) -> str:
    """ASCII JSON of a whole number of tokens."""
    return padded(json.dumps(example(orjson.loads(schema)), separators=(",", ":")))


def example(schema: Any, definitions: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """The plainest value that a JSON schema allows: every property, one item an array, the first of several ways."""
    if not isinstance(schema, dict) or depth > 12:
        return None
    definitions = definitions if definitions is not None else schema.get("$defs") or schema.get("definitions") or {}
    if "$ref" in schema:
        return example(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1]), definitions, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for ways in ("anyOf", "oneOf", "allOf"):
        if schema.get(ways):
            return example(schema[ways][0], definitions, depth + 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example(value, definitions, depth + 1) for name, value in properties.items()}
    if kind == "array":
        item = example(schema.get("items", {"type": "string"}), definitions, depth + 1)
        return [item] * max(1, int(schema.get("minItems", 1)))
    plain: dict[str, Any] = {"string": "water", "integer": 7, "number": 2.5, "boolean": True}
    if kind in ("integer", "number") and "minimum" in schema:
        return max(schema["minimum"], plain[kind])
    return plain.get(kind)
