"""A mixed day of questions, and what routing them saved: pure arithmetic over what was observed."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

DAY = Path(__file__).with_name("routing_day.jsonl")

ANSWER_TOKENS = {"factual": 30, "code": 200, "practice": 200, "reasoning": 250, "research": 250}
"""How long an answer may be, by type: every system is asked for the same."""

RESAMPLES = 2_000
LATENCY_TARGET, COST_TARGET = 0.52, 0.41
"""Shares of mean latency and of cost that automatic routing is to save."""


@dataclass(frozen=True, slots=True)
class Question:
    """operation: the type that a person gave it."""

    text: str
    operation: str


@dataclass(frozen=True, slots=True)
class Call:
    """One answered question. seconds: of the provider's clock, until the whole answer was there. cost: dollars, None
    where the product did not know it. fallback: whether another model than the chosen one answered."""

    question: Question
    round: int
    provider: str
    model: str
    seconds: float
    cost: float | None
    fallback: bool = False

    @property
    def named(self) -> str:
        """The model as a caller names it."""
        return f"{self.provider}/{self.model}"


def load_day(file: Path = DAY) -> tuple[Question, ...]:
    """The questions of the file. Raises ValueError that names the wrong line."""
    questions = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            row = orjson.loads(line)
            question = Question(row["text"], row["operation"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: not {{text, operation}}") from error
        if question.operation not in ANSWER_TOKENS:
            raise ValueError(f"{file}, line {number}: {question.operation!r} is not of {', '.join(ANSWER_TOKENS)}")
        questions.append(question)
    return tuple(questions)


def shares(questions: Sequence[Question]) -> dict[str, float]:
    """How much of the day each type is."""
    counts = Counter(question.operation for question in questions)
    return {operation: count / len(questions) for operation, count in counts.most_common()}


def shuffled(calls: Sequence[Call], source: random.Random) -> list[tuple[Question, int, str]]:
    """(question, round, model): the models that automatic routing used, dealt out to the questions at random."""
    models = [call.named for call in calls]
    source.shuffle(models)
    return [(call.question, call.round, model) for call, model in zip(calls, models, strict=True)]


def usual_models(calls: Sequence[Call]) -> dict[str, str]:
    """The model that automatic routing used most for each type."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        seen[call.question.operation][call.named] += 1
    return {operation: models.most_common(1)[0][0] for operation, models in seen.items()}


def summary(calls: Sequence[Call], usual: Mapping[str, str]) -> dict[str, Any]:
    """`{"calls", "seconds": {"mean", "p50", "p95"}, "cost_usd", "unpriced", "suited", "models"}`.

    suited: share of questions that went to the model which automatic routing uses for their type.
    """
    seconds = np.array([call.seconds for call in calls])
    priced = [call.cost for call in calls if call.cost is not None]
    return {
        "calls": len(calls),
        "seconds": {
            "mean": float(seconds.mean()),
            "p50": float(np.percentile(seconds, 50, method="inverted_cdf")),
            "p95": float(np.percentile(seconds, 95, method="inverted_cdf")),
        },
        "cost_usd": float(np.sum(priced)),
        "unpriced": len(calls) - len(priced),
        "suited": float(np.mean([usual.get(call.question.operation) == call.named for call in calls])),
        "models": dict(Counter(call.named for call in calls).most_common()),
    }


def saving(calls: Sequence[Call], baseline: Sequence[Call], *, seed: int = 1) -> dict[str, Any]:
    """What `calls` saved against the same questions of the baseline: `{"latency", "cost"}`, each `{"value", "low",
    "high", "calls"}` with the 95 % interval of a paired bootstrap over questions; `cost` over pairs of known cost.

    Raises ValueError where no question was answered by both.
    """
    theirs = {(call.question.text, call.round): call for call in baseline}
    pairs = [(call, theirs[key]) for call in calls if (key := (call.question.text, call.round)) in theirs]
    if not pairs:
        raise ValueError("no question was answered by both systems")
    seconds = [(mine.question.text, mine.seconds, other.seconds) for mine, other in pairs]
    costs = [
        (mine.question.text, mine.cost, other.cost)
        for mine, other in pairs
        if mine.cost is not None and other.cost is not None
    ]
    return {"latency": _saved(seconds, seed), "cost": _saved(costs, seed)}


def judged(saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The targets: `{"name", "at_least", "measured", "met"}`; a figure that is not known is not met."""
    targets = (("mean latency saved", "latency", LATENCY_TARGET), ("cost saved", "cost", COST_TARGET))
    return [
        {
            "name": name,
            "at_least": limit,
            "measured": saved[key]["value"],
            "met": saved[key]["value"] is not None and saved[key]["value"] >= limit,
        }
        for name, key, limit in targets
    ]


def _saved(pairs: Sequence[tuple[str, float, float]], seed: int) -> dict[str, Any]:
    if not pairs:
        return {"value": None, "low": None, "high": None, "calls": 0}
    sums = _by_question(pairs)
    source = np.random.default_rng(seed)
    drawn = source.integers(0, len(sums), (RESAMPLES, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.percentile(1 - totals[:, 0] / totals[:, 1], [2.5, 97.5])
    mine, other = sums.sum(axis=0)
    return {"value": float(1 - mine / other), "low": float(low), "high": float(high), "calls": len(pairs)}


def _by_question(pairs: Sequence[tuple[str, float, float]]) -> NDArray[np.float64]:
    """[questions, 2]: rounds of one question are alike and are drawn together."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for text, mine, other in pairs:
        sums[text][0] += mine
        sums[text][1] += other
    return np.array(list(sums.values()))
