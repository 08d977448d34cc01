"""Measures how well the router finds operation types on labelled questions, in this process, without servers.

python -m pipelines.evaluation.routing --dataset FILE|DIR [--json] [--precision int8|fp32] [--home DIR]

A line is `{"text", "operation", "part"}`; `part` is optional and keeps apart what was looked at while the router was
tuned from what was not. Questions that the router's examples contain are refused: they would measure memory.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from deployments.embedder.export import Precision, ensure_model
from deployments.embedder.model import OnnxEmbedder
from deployments.protocols import Account, Embeddings, RouteRequest, Vectors
from deployments.router.classifier import Classifier, WordClassifier
from deployments.router.classify import at_once, by_vector, by_words
from deployments.router.examples import Example, load_examples
from deployments.router.rules import OPERATIONS
from deployments.settings import default_home
from kit.errors import SetupError
from pipelines.evaluation.metrics import mean, quantile

FILE = "routing_labelled.jsonl"
"""In a folder that is given as data set."""
WHOLE = "all"
DEFAULT = "chat"
EXIT_SETUP = 2


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question with its operation type."""

    text: str
    operation: str
    part: str


@dataclass(frozen=True, slots=True)
class Part:
    """accuracy: share whose type was found; by_words: without any vector; without_vector: share that needed none, and
    accuracy_without_vector of those. by_operation: accuracy. confusions: `right -> found` with how often."""

    questions: int
    accuracy: float
    by_words: float
    without_vector: float
    accuracy_without_vector: float
    by_operation: dict[str, float]
    confusions: dict[str, int]


@dataclass(frozen=True, slots=True)
class RoutingReport:
    """microseconds: p50 and p95 of finding a type without embedding, one question at a time."""

    dataset: str
    examples: int
    parts: dict[str, Part]
    microseconds: dict[str, float]


class _Direct:
    """The model itself as an Embedder."""

    def __init__(self, model: OnnxEmbedder) -> None:
        self._model = model

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """Embed now."""
        return self._model.encode(texts, tokens=tokens)


def load_labelled(dataset: Path, examples: Sequence[Example]) -> tuple[Labelled, ...]:
    """Raises SetupError that names the file and line where something is wrong."""
    file = dataset / FILE if dataset.is_dir() else dataset
    known = {example.text.casefold() for example in examples}
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise SetupError(
            f"{file} cannot be read: {error.strerror}.", f"Give a file, or a folder with {FILE}."
        ) from error
    found = tuple(_labelled(line, f"{file}, line {n}", known) for n, line in enumerate(lines, start=1) if line.strip())
    if not found:
        raise SetupError(f"{file} is empty.", 'A line is {"text": …, "operation": …}.')
    return found


def _labelled(line: bytes, at: str, known: set[str]) -> Labelled:
    try:
        row = orjson.loads(line)
        question = Labelled(str(row["text"]), str(row["operation"]), str(row.get("part", WHOLE)))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{at}: no labelled question.", 'A line is {"text": …, "operation": …}.') from error
    if question.operation not in OPERATIONS:
        raise SetupError(f"{at}: {question.operation!r} is no operation type.", f"Allowed: {', '.join(OPERATIONS)}.")
    if question.text.casefold() in known:
        raise SetupError(f"{at}: the router's examples contain this question.", "Take it out of one of the two.")
    return question


async def evaluate(dataset: Path, model: OnnxEmbedder) -> RoutingReport:
    """Find the type of every question as the router does."""
    examples = load_examples()
    questions = load_labelled(dataset, examples)
    words = WordClassifier(examples)
    classifier = await Classifier.embedded(words, examples, _Direct(model))
    judged = [_judge(question, words, classifier, model.encode([question.text]).sentences[0]) for question in questions]
    parts = {}
    for part in [*dict.fromkeys(question.part for question in questions), WHOLE]:
        chosen = [one for one in judged if part in (WHOLE, one.question.part)]
        parts[part] = _part(chosen)
    seconds = [one.seconds for one in judged]
    times = {"p50": quantile(seconds, 0.5) * 1e6, "p95": quantile(seconds, 0.95) * 1e6}
    return RoutingReport(dataset.name, len(examples), parts, times)


@dataclass(frozen=True, slots=True)
class _Judged:
    question: Labelled
    found: str
    by_words: str
    needed_vector: bool
    seconds: float


def _judge(question: Labelled, words: WordClassifier, classifier: Classifier, vector: Vectors) -> _Judged:
    request = RouteRequest(Account("evaluation"), "auto", question.text, vector)
    began = time.perf_counter()
    found = at_once(request, words)
    seconds = time.perf_counter() - began
    return _Judged(
        question,
        (found or by_vector(request, classifier, DEFAULT)).operation,
        by_words(request, words, DEFAULT).operation,
        found is None,
        seconds,
    )


def _part(judged: Sequence[_Judged]) -> Part:
    def accuracy(chosen: Sequence[_Judged]) -> float:
        return mean(one.found == one.question.operation for one in chosen)

    wrong = Counter(f"{one.question.operation} -> {one.found}" for one in judged if one.found != one.question.operation)
    return Part(
        questions=len(judged),
        accuracy=accuracy(judged),
        by_words=mean(one.by_words == one.question.operation for one in judged),
        without_vector=mean(not one.needed_vector for one in judged),
        accuracy_without_vector=accuracy([one for one in judged if not one.needed_vector]),
        by_operation={
            operation: accuracy([one for one in judged if one.question.operation == operation])
            for operation in OPERATIONS
            if any(one.question.operation == operation for one in judged)
        },
        confusions=dict(wrong.most_common()),
    )


def print_report(report: RoutingReport, console: Console | None = None) -> None:
    """Tables on standard output."""
    console = console or Console()
    times = f"p50 {report.microseconds['p50']:.0f} us, p95 {report.microseconds['p95']:.0f} us"
    console.print(
        f"{report.dataset}: {report.examples} examples; a type without embedding takes {times}.", markup=False
    )
    table = Table("", *report.parts, title="Operation types found")
    table.add_row("questions", *(str(part.questions) for part in report.parts.values()))
    table.add_row("all types", *(f"{part.accuracy:.1%}" for part in report.parts.values()))
    for operation in OPERATIONS:
        table.add_row(operation, *(_share(part.by_operation.get(operation)) for part in report.parts.values()))
    table.add_row("needed no vector", *(f"{part.without_vector:.1%}" for part in report.parts.values()))
    table.add_row("... and were right", *(f"{part.accuracy_without_vector:.1%}" for part in report.parts.values()))
    table.add_row("all by words alone", *(f"{part.by_words:.1%}" for part in report.parts.values()))
    console.print(table)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def run(dataset: Path, *, home: Path, precision: Precision, progress: bool) -> RoutingReport:
    """home: PENSTOCK_HOME, where the embedding model is kept. progress: bars on stderr. Raises SetupError."""
    console = Console(stderr=True, quiet=not progress)
    return asyncio.run(evaluate(dataset, OnnxEmbedder(ensure_model(home, precision, console=console), threads=1)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 2 when the data set cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluation.routing", description="Judge the router.")
    parser.add_argument("--dataset", type=Path, required=True, help=f"JSON lines, or a folder with {FILE}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="weights of the embedding model")
    parser.add_argument("--home", type=Path, default=default_home(), help="PENSTOCK_HOME")
    given = parser.parse_args(arguments)
    try:
        report = run(given.dataset, home=given.home, precision=given.precision, progress=sys.stderr.isatty())
    except SetupError as error:
        Console(stderr=True).print(error.message, style="red", markup=False)
        return EXIT_SETUP
    if given.json:
        plain: dict[str, Any] = asdict(report)
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
    else:
        print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
