"""`penstock eval retrieval` and `penstock eval routing`: measure quality on judged data."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_app.commands.common import JsonOption, home_of, readable_errors, settings

app = typer.Typer(help="Measure quality on judged data.", no_args_is_help=True)


@app.command()
def retrieval(
    dataset: Annotated[Path, typer.Option(help="Folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels.tsv.")],
    precision: Annotated[Literal["int8", "fp32"] | None, typer.Option(help="Precision of the embedding model.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Queries to judge; all by default.")] = None,
    unanswerable: Annotated[
        Path | None, typer.Option(help='JSON lines {"question": ...} that nothing answers.')
    ] = None,
    json: JsonOption = False,
) -> None:
    """nDCG@10, recall@100, MRR@10 and groundedness, in this process; needs no running platform.

    Example: penstock eval retrieval --dataset ../scifact
    """
    with readable_errors():
        loaded = settings()
    # An evaluation is a pipeline: it runs by its entry point, as every pipeline does.
    command = [sys.executable, "-m", "pipelines.evaluate", "retrieval", "--dataset", str(dataset)]
    command += ["--home", str(home_of(loaded)), "--precision", precision or loaded.embedder.precision]
    command += ["--limit", str(limit)] if limit else []
    command += ["--unanswerable", str(unanswerable)] if unanswerable else []
    command += ["--json"] if json else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def routing(
    dataset: Annotated[
        Path, typer.Option(help='JSON lines {"text": ..., "operation": ...}, or a folder with routing_labelled.jsonl.')
    ],
    precision: Annotated[Literal["int8", "fp32"] | None, typer.Option(help="Precision of the embedding model.")] = None,
    json: JsonOption = False,
) -> None:
    """How often the router finds a question's operation type, in this process; needs no running platform.

    Example: penstock eval routing --dataset tests/data/routing_labelled.jsonl
    """
    with readable_errors():
        loaded = settings()
    command = [sys.executable, "-m", "pipelines.evaluation.routing", "--dataset", str(dataset)]
    command += ["--home", str(home_of(loaded)), "--precision", precision or loaded.embedder.precision]
    command += ["--json"] if json else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)
