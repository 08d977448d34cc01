"""Measures retrieval and groundedness on a data set, in this process, without servers.

python -m pipelines.evaluate retrieval --dataset DIR [--json] [--limit N] [--precision int8|fp32]
                                       [--unanswerable FILE] [--home DIR]
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deployments.embedder.export import Precision, ensure_model, model_folder
from deployments.embedder.model import OnnxEmbedder
from deployments.embedder.tokenizer import WINDOW
from deployments.protocols import Embeddings, Passage
from deployments.provider_caller.local import ExtractiveAnswer, LocalProvider
from deployments.settings import default_home
from kit.errors import SetupError
from pipelines.evaluation.dataset import Dataset, Query, load_dataset, load_questions
from pipelines.evaluation.metrics import hit, holds_answer, mean, ndcg, quantile, recall, reciprocal_rank
from pipelines.evaluation.report import Groundedness, Latency, Ranking, Report, print_report
from pipelines.evaluation.searching import METHODS, Searcher, Timings, corpus_texts, document_ids
from pipelines.evaluation.vectors import CachedEmbedder

EXIT_SETUP = 2
PASSAGES = 5
"""Passages that an answer is made from."""
TIMED = 50
"""Questions whose embedding and answer are timed without the cache."""

Task = Callable[[str, int], Callable[[int], None]]
"""Opens a progress bar (description, total); call the result with how much more is done."""


class Direct:
    """The model itself as an Embedder, for timing."""

    def __init__(self, model: OnnxEmbedder) -> None:
        self._model = model

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """Embed now."""
        return self._model.encode(texts, tokens=tokens)


class Evaluation:
    """One run over one data set."""

    def __init__(self, dataset: Dataset, vectors: CachedEmbedder, model: OnnxEmbedder, task: Task) -> None:
        self._dataset = dataset
        self._vectors = vectors
        self._direct = Direct(model)
        self._task = task
        self._timings = Timings()
        texts = corpus_texts(dataset)
        self._cut = sum(len(encoded) >= WINDOW for encoded in model.tokenizer.encode(texts))
        vectors.passages(texts, task("Embedding documents", len(texts)))
        questions = [query.text for query in dataset.queries]
        vectors.prepare(questions, task("Embedding questions", len(questions)))
        self._searcher = Searcher(dataset, texts, vectors)

    async def report(self, precision: str, unanswerable: Sequence[str]) -> Report:
        """Measure everything that the data set allows."""
        rankings, top = await self._rank()
        groundedness = await self._ground(top, unanswerable) if self._dataset.has_answers else None
        await self._time(top)
        return Report(
            dataset=self._dataset.name,
            documents=len(self._dataset.corpus),
            cut_documents=self._cut,
            queries=len(self._dataset.queries),
            precision=precision,
            rankings=rankings,
            groundedness=groundedness,
            latencies={
                step: Latency(quantile(seconds, 0.5) * 1e3, quantile(seconds, 0.95) * 1e3)
                for step, seconds in self._timings.steps.items()
            },
        )

    async def _rank(self) -> tuple[dict[str, Ranking], list[Sequence[Passage]]]:
        """Metrics by method, and the passages that each query's answer is made from."""
        done = self._task("Searching", len(self._dataset.queries))
        orders: dict[str, list[list[str]]] = {method: [] for method in METHODS}
        top: list[Sequence[Passage]] = []
        for query in self._dataset.queries:
            found = await self._search(query.text)
            for method in METHODS:
                orders[method].append(document_ids(found[method]))
            top.append(found["reranked"][:PASSAGES])
            done(1)
        relevant = [self._dataset.relevant[query.id] for query in self._dataset.queries]

        def over(metric: Callable[..., float], method: str, k: int) -> float:
            return mean(metric(order, judged, k) for order, judged in zip(orders[method], relevant, strict=True))

        rankings = {
            method: Ranking(
                ndcg_at_10=over(ndcg, method, 10),
                recall_at_100=over(recall, method, 100),
                mrr_at_10=over(reciprocal_rank, method, 10),
                hit_at_1=over(hit, method, 1),
                hit_at_5=over(hit, method, 5),
            )
            for method in METHODS
        }
        return rankings, top

    async def _search(self, question: str) -> dict[str, list[Passage]]:
        return await self._searcher.search(question, await self._vectors.embed([question], tokens=True), Timings())

    async def _ground(self, top: Sequence[Sequence[Passage]], unanswerable: Sequence[str]) -> Groundedness:
        provider = LocalProvider(self._vectors)
        done = self._task("Answering", len(top) + len(unanswerable))
        answered: list[tuple[Query, ExtractiveAnswer]] = []
        for query, passages in zip(self._dataset.queries, top, strict=True):
            if query.answers:
                answered.append((query, await provider.answer(query.text, passages)))
            done(1)
        refused = []
        for question in unanswerable:
            found = await self._search(question)
            refused.append(not (await provider.answer(question, found["reranked"][:PASSAGES])).answered)
            done(1)

        def held(quotes: int) -> float:
            return mean(
                any(holds_answer(quote.text, query.answers) for quote in answer.quotes[:quotes])
                for query, answer in answered
            )

        return Groundedness(
            questions=len(answered),
            answer_in_first=held(1),
            answer_in_two=held(2),
            answer_in_three=held(3),
            refused=mean(not answer.answered for _, answer in answered),
            unanswerable=len(refused),
            refused_unanswerable=mean(refused) if refused else None,
        )

    async def _time(self, top: Sequence[Sequence[Passage]]) -> None:
        provider = LocalProvider(self._direct)
        sample = list(zip(self._dataset.queries, top, strict=True))[:: max(len(top) // TIMED, 1)][:TIMED]
        done = self._task("Timing", len(sample))
        for query, passages in sample:
            # Once unmeasured: token vectors are then in memory, as those of passages that are often asked for are.
            await self._search(query.text)
            now = time.perf_counter()
            embeddings = await self._direct.embed([query.text], tokens=True)
            self._timings.add("question embedding", now)
            await self._searcher.search(query.text, embeddings, self._timings)
            now = time.perf_counter()
            await provider.answer(query.text, passages)
            self._timings.add("extractive answer", now)
            done(1)


def run(
    dataset: Path, *, home: Path, precision: Precision, limit: int | None, unanswerable: Path | None, progress: bool
) -> Report:
    """Evaluate a data set in BEIR's layout.

    home: PENSTOCK_HOME; the model and the embeddings are kept there. limit: only the first queries (all documents).
    unanswerable: a file of questions that no document answers. progress: bars on stderr. Raises SetupError.
    """
    loaded = load_dataset(dataset)
    questions = load_questions(unanswerable) if unanswerable else ()
    if limit is not None:
        loaded = Dataset(loaded.name, loaded.corpus, loaded.queries[:limit], loaded.relevant)
    console = Console(stderr=True, quiet=not progress)
    model = OnnxEmbedder(ensure_model(home, precision, console=console), threads=1)
    vectors = CachedEmbedder(home / "eval" / "embeddings.sqlite", f"{model_folder(home).name}-{precision}", model)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console, disable=not progress) as bars:

            def task(description: str, total: int) -> Callable[[int], None]:
                bar = bars.add_task(description, total=total)
                return lambda count: bars.advance(bar, count)

            evaluation = Evaluation(loaded, vectors, model, task)
            return asyncio.run(evaluation.report(precision, questions))
    finally:
        vectors.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 2 when the data set cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description="Measure on a data set.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    retrieval = kinds.add_parser("retrieval", help="rankings, groundedness and latencies")
    retrieval.add_argument("--dataset", type=Path, required=True, help="folder in BEIR's layout")
    retrieval.add_argument("--json", action="store_true", help="print JSON instead of tables")
    retrieval.add_argument("--limit", type=int, help="only the first N queries")
    retrieval.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="weights of the model")
    retrieval.add_argument("--unanswerable", type=Path, help='questions that nothing answers, {"question"} a line')
    retrieval.add_argument("--home", type=Path, default=default_home(), help="PENSTOCK_HOME")
    given = parser.parse_args(arguments)
    try:
        report = run(
            given.dataset,
            home=given.home,
            precision=given.precision,
            limit=given.limit,
            unanswerable=given.unanswerable,
            progress=sys.stderr.isatty(),
        )
    except SetupError as error:
        Console(stderr=True).print(f"[red]{error.message}[/red]")
        return EXIT_SETUP
    if given.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
