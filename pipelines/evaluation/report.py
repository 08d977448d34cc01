"""What an evaluation found, for programs and for people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Ranking:
    """Means over all queries, 0 to 1."""

    ndcg_at_10: float
    recall_at_100: float
    mrr_at_10: float
    hit_at_1: float
    hit_at_5: float


@dataclass(frozen=True, slots=True)
class Groundedness:
    """Shares of the answerable questions, 0 to 1; a question that gets no answer counts as not held.

    answer_in_first, answer_in_two, answer_in_three: a right answer stands in the first, the first two, any of the
    (at most three) quoted sentences. refused: `No passage answers this` although one does. refused_unanswerable: the
    same for questions that no passage answers, None where none were given.
    """

    questions: int
    answer_in_first: float
    answer_in_two: float
    answer_in_three: float
    refused: float
    unanswerable: int
    refused_unanswerable: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, one question at a time on one thread."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Report:
    """rankings: by method (bm25, dense, hybrid, reranked). latencies: by step."""

    dataset: str
    documents: int
    cut_documents: int
    queries: int
    precision: str
    rankings: Mapping[str, Ranking]
    groundedness: Groundedness | None
    latencies: Mapping[str, Latency]

    def to_json(self) -> dict[str, Any]:
        """Plain values under the fields' names."""
        return asdict(self)


def print_report(report: Report, console: Console | None = None) -> None:
    """Tables on standard output."""
    console = console or Console()
    console.print(
        f"[bold]{report.dataset}[/bold]: {report.queries} questions, {report.documents} documents, of which "
        f"{report.cut_documents} are longer than the model's window and cut there; {report.precision} weights."
    )
    console.print(_rankings(report))
    if report.groundedness is not None:
        console.print(_groundedness(report.groundedness))
    latencies = Table("step", "p50 ms", "p95 ms", title="Latency, one question at a time")
    for step, latency in report.latencies.items():
        latencies.add_row(step, f"{latency.p50:.2f}", f"{latency.p95:.2f}")
    console.print(latencies)


def _rankings(report: Report) -> Table:
    table = Table("method", "nDCG@10", "recall@100", "MRR@10", "first", "in the top 5", title="Retrieval")
    for method, ranking in report.rankings.items():
        table.add_row(
            method,
            f"{ranking.ndcg_at_10:.3f}",
            f"{ranking.recall_at_100:.3f}",
            f"{ranking.mrr_at_10:.3f}",
            f"{ranking.hit_at_1:.1%}",
            f"{ranking.hit_at_5:.1%}",
        )
    return table


def _groundedness(groundedness: Groundedness) -> Table:
    table = Table("extractive answer", f"of {groundedness.questions} questions", title="Groundedness")
    table.add_row("right answer in the first sentence", f"{groundedness.answer_in_first:.1%}")
    table.add_row("in the first two", f"{groundedness.answer_in_two:.1%}")
    table.add_row("in any of at most three", f"{groundedness.answer_in_three:.1%}")
    table.add_row("refused although answerable", f"{groundedness.refused:.1%}")
    if groundedness.refused_unanswerable is not None:
        table.add_row(
            f"refused of {groundedness.unanswerable} unanswerable questions", f"{groundedness.refused_unanswerable:.1%}"
        )
    return table
