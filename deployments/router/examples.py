"""Questions whose operation type is known: what the classifier learns from."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from deployments.router.policy import ROUTING
from deployments.router.rules import OPERATIONS
from kit.errors import SetupError

EXAMPLES = ROUTING / "examples.jsonl"
_REMEDY = "Restore it: the router learns the operation types from it."


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its operation type."""

    text: str
    operation: str


def load_examples(file: Path = EXAMPLES) -> tuple[Example, ...]:
    """Lines of `{"text": ..., "operation": ...}`; other fields are ignored. Raises SetupError that names the wrong
    line."""
    if not file.is_file():
        raise SetupError(f"{file} is missing.", _REMEDY)
    examples = tuple(
        _example(line, f"{file}:{number}")
        for number, line in enumerate(file.read_bytes().splitlines(), start=1)
        if line.strip()
    )
    if not examples:
        raise SetupError(f"{file} is empty.", _REMEDY)
    return examples


def _example(line: bytes, at: str) -> Example:
    try:
        content = orjson.loads(line)
        example = Example(str(content["text"]), str(content["operation"]))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{at} is no example.", 'A line is {"text": …, "operation": …}.') from error
    if example.operation not in OPERATIONS:
        raise SetupError(f"{at}: {example.operation!r} is no operation type.", f"Allowed: {', '.join(OPERATIONS)}.")
    return example
