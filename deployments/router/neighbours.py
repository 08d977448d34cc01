"""Operation type by the nearest labelled examples (k-nearest neighbours over sentence vectors)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from deployments.protocols import Embedder, Vectors
from deployments.router.rules import OPERATIONS
from kit.errors import SetupError

LEAST_SIMILARITY = 0.25
"""Cosine below which an example says nothing about a question."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question whose operation type is known."""

    text: str
    operation: str


def load_examples(file: Path) -> tuple[Example, ...]:
    """Lines of `{"text": ..., "operation": ...}`. Raises SetupError that names the wrong line."""
    if not file.is_file():
        raise SetupError(f"{file} is missing.", "Restore it: the router learns the operation types from it.")
    examples = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            content = orjson.loads(line)
            example = Example(str(content["text"]), str(content["operation"]))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise SetupError(f"{file}:{number} is no example.", 'A line is {"text": …, "operation": …}.') from error
        if example.operation not in OPERATIONS:
            raise SetupError(
                f"{file}:{number}: {example.operation!r} is no operation type.", f"Allowed: {', '.join(OPERATIONS)}."
            )
        examples.append(example)
    if not examples:
        raise SetupError(f"{file} is empty.", "Restore it: the router learns the operation types from it.")
    return tuple(examples)


class Neighbours:
    """Labelled examples and their vectors. vectors: float32 [n, d], L2-normalised, a row for each example."""

    def __init__(self, examples: Sequence[Example], vectors: Vectors, k: int) -> None:
        self._operations = [example.operation for example in examples]
        self._vectors = vectors
        self._k = min(k, len(self._operations))

    @classmethod
    async def embedded(cls, examples: Sequence[Example], embedder: Embedder, k: int) -> "Neighbours":
        """Embed the examples once."""
        return cls(examples, (await embedder.embed([example.text for example in examples])).sentences, k)

    def vote(self, vector: Vectors) -> str | None:
        """The operation whose examples among the k nearest are closest in sum; None when no example is near.

        vector: float32 [d], L2-normalised.
        """
        similarities = self._vectors @ vector
        nearest = np.argpartition(-similarities, self._k - 1)[: self._k]
        votes: defaultdict[str, float] = defaultdict(float)
        for index in nearest.tolist():
            if similarities[index] >= LEAST_SIMILARITY:
                votes[self._operations[index]] += float(similarities[index])
        return max(votes, key=lambda operation: votes[operation]) if votes else None
