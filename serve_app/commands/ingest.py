"""`penstock ingest`: submits the ingestion job and shows its progress."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kit.errors import SetupError
from serve_app.cluster_env import token_file
from serve_app.commands.common import ERR, OUT, JsonOption, home_of, print_json, readable_errors, settings
from serve_app.embedded.home import Home, open_home
from serve_app.state import read_state

TENANT = "default"


def ingest(
    path: Annotated[Path, typer.Argument(help="A file or a folder.")],
    collection: Annotated[str, typer.Option(help="The collection, made if it is not there.")],
    subject: Annotated[str | None, typer.Option(help="Subject of documents that name none themselves.")] = None,
    json: JsonOption = False,
) -> None:
    """Ingest documents into a collection: chunk, embed, store. Repeating it does only what is new or changed.

    Example: penstock ingest samples/curriculum --collection curriculum
    """
    with readable_errors():
        if not path.exists():
            raise SetupError(f"There is no file or folder {path}.", "Give the path of documents on this machine.")
        home = open_home(home_of(settings()))
        dashboard = read_state(home.path)["dashboard"]
        summary = asyncio.run(_with_bar(home, dashboard, path.resolve(), collection, subject, as_json=json))
    raise typer.Exit(1 if summary.get("failed") else 0)


async def ingest_path(
    home: Home, dashboard: str, path: Path, collection: str, subject: str | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Ingest and wait; `say` hears short progress texts. Returns the job's summary. Raises SetupError if it fails."""
    async for event in _events(home, dashboard, path, collection, subject):
        if event["event"] == "progress":
            say(f"{event['done']} of {event['total']} documents")
        elif event["event"] == "error":
            raise SetupError("The ingestion failed:", event["message"])
        elif event["event"] == "summary":
            return dict(event)
    raise SetupError("The ingestion ended without a summary.", "Ray's job logs say more.")


async def _events(home: Home, dashboard: str, path: Path, collection: str, subject: str | None) -> Any:
    from serve_app.jobs import Jobs

    # With `=`, so that a name may begin with a dash.
    command = [sys.executable, "-m", "pipelines.ingest", f"--path={path}", f"--collection={collection}"]
    command += [f"--tenant={TENANT}", *([f"--subject={subject}"] if subject else [])]
    async with Jobs(dashboard, token_file(home).read_text().strip()) as jobs:
        job = await jobs.submit(command)
        try:
            async for event in jobs.events(job):
                yield event
        except asyncio.CancelledError:
            await asyncio.shield(jobs.stop(job))
            raise


async def _with_bar(
    home: Home, dashboard: str, path: Path, collection: str, subject: str | None, *, as_json: bool
) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERR, disable=as_json) as progress:
        task = progress.add_task("Starting the job", total=None, rate="")
        async for event in _events(home, dashboard, path, collection, subject):
            if as_json:
                print_json(**event)
            if event["event"] == "start":
                progress.update(task, description="Reading", total=event["total"])
            elif event["event"] == "progress":
                rate = f"{event['rate']:.0f} chunks/s"
                progress.update(task, description="Ingesting", completed=event["done"], total=event["total"], rate=rate)
            elif event["event"] == "failure":
                failure = escape(f"{event['file']}: {event['reason']}")
                progress.console.print(f"  [red]✗[/] {failure}", highlight=False, soft_wrap=True)
            elif event["event"] == "error":
                raise SetupError("The ingestion failed:", event["message"])
            elif event["event"] == "summary":
                summary = event
    if not as_json:
        shown = "  ".join(f"{name} {value}" for name, value in summary.items() if isinstance(value, int | float | str))
        OUT.print(shown.removeprefix("event summary").strip(), highlight=False, markup=False)
    return summary
