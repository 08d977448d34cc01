"""How fast the embedder stage is, beside the bare model in the same run: `python -m deployments.embedder.bench`.

The bare model runs the same texts in batches that were tokenised and padded ahead: nothing but `session.run`.
"""

import argparse
import asyncio
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from deployments.embedder.batching import plan
from deployments.embedder.config import EmbedderConfig
from deployments.embedder.export import ensure_model
from deployments.embedder.model import OnnxEmbedder, pad
from deployments.embedder.stage import EmbedderStage
from deployments.settings import default_home

QUESTION = "How do plants turn the light of the sun into sugar and oxygen daily?"
"""17 word pieces, [CLS] and [SEP] included."""

LESSON = (
    "The water cycle moves water between the oceans, the air and the land. Heat from the sun evaporates water from the "
    "sea, the vapour rises and cools, drops form clouds, and rain or snow falls on hills and plains. Rivers carry it "
    "back, while some of it sinks into the ground and feeds springs, wells and the roots of trees. "
)


@dataclass(frozen=True)
class Measurement:
    """Milliseconds for one question alone (p50, p99); passages per second, of `passage_tokens` tokens on average."""

    precision: str
    threads: int
    question_tokens: int
    stage_p50: float
    stage_p99: float
    model_p50: float
    passage_tokens: float
    stage_passages: float
    model_passages: float

    @property
    def share(self) -> float:
        """What of the bare model's throughput the stage keeps."""
        return self.stage_passages / self.model_passages


def passages(count: int) -> list[str]:
    """Different passages of about 130 tokens, the longest a third longer than the shortest."""
    words = LESSON.split() * 3
    return [" ".join(words[number % 50 :][: 95 + number * 7 % 30]) for number in range(count)]


async def measure(
    config: EmbedderConfig, home: Path, *, questions: int, passage_count: int, rounds: int
) -> Measurement:
    """Stage and bare model in turns, so that what else the machine does meets both; the best round counts."""
    stage = EmbedderStage(config, home)
    await stage.start()
    model = OnnxEmbedder(ensure_model(home, config.precision), threads=config.threads)
    texts = passages(passage_count)
    encoded = model.tokenizer.encode(texts)
    lengths = [len(text) for text in encoded]
    batches = [
        pad([encoded[index] for index in batch])
        for batch in plan(lengths, max_texts=config.max_batch_size, max_tokens=config.max_batch_tokens)
    ]
    question = pad(model.tokenizer.encode([QUESTION]))
    stage_times, model_times, stage_rates, model_rates = [], [], [], []
    try:
        for _ in range(questions):
            stage_times.append(await _timed_question(stage))
            model_times.append(_timed_runs(model, [question]))
        for _ in range(rounds):
            started = time.perf_counter()
            await stage.embed(texts, tokens=True)
            stage_rates.append(passage_count / (time.perf_counter() - started))
            model_rates.append(passage_count / _timed_runs(model, batches))
    finally:
        await stage.close()
    return Measurement(
        precision=config.precision,
        threads=config.threads,
        question_tokens=int(question["input_ids"].size),
        stage_p50=statistics.median(stage_times) * 1000,
        stage_p99=statistics.quantiles(stage_times, n=100)[98] * 1000,
        model_p50=statistics.median(model_times) * 1000,
        passage_tokens=statistics.mean(lengths),
        stage_passages=max(stage_rates),
        model_passages=max(model_rates),
    )


async def _timed_question(stage: EmbedderStage) -> float:
    started = time.perf_counter()
    await stage.embed([QUESTION], tokens=True)
    return time.perf_counter() - started


def _timed_runs(model: OnnxEmbedder, batches: list[dict[str, NDArray[np.int64]]]) -> float:
    started = time.perf_counter()
    for inputs in batches:
        model.session.run(None, inputs)
    return time.perf_counter() - started


def table_of(measurements: list[Measurement]) -> Table:
    """One row for each measurement."""
    table = Table(title="Embedder: the stage beside the bare model")
    for heading in ("precision", "threads", "question p50 / p99", "bare p50", "passages/s", "bare", "share"):
        table.add_column(heading, justify="right")
    for row in measurements:
        table.add_row(
            row.precision,
            str(row.threads),
            f"{row.stage_p50:.2f} / {row.stage_p99:.2f} ms",
            f"{row.model_p50:.2f} ms",
            f"{row.stage_passages:.0f}",
            f"{row.model_passages:.0f}",
            f"{row.share:.0%}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m deployments.embedder.bench", description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home(), help="folder of all local state")
    parser.add_argument("--precision", choices=["int8", "fp32"], nargs="+", default=["int8"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--questions", type=int, default=200, help="questions, one after another")
    parser.add_argument("--passages", type=int, default=64, help="passages of one request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    arguments = parser.parse_args()
    configs = [
        EmbedderConfig(precision=precision, threads=threads)
        for precision in arguments.precision
        for threads in arguments.threads
    ]
    sizes = {"questions": arguments.questions, "passage_count": arguments.passages, "rounds": arguments.rounds}
    measurements = [asyncio.run(measure(config, arguments.home, **sizes)) for config in configs]
    console = Console()
    if arguments.json:
        console.print_json(orjson.dumps([asdict(row) | {"share": row.share} for row in measurements]).decode())
    else:
        console.print(table_of(measurements))


if __name__ == "__main__":
    main()
