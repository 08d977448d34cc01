"""The ingestion job: `python -m pipelines.ingest --path P --collection C`, submitted by `penstock ingest`.

Tells what it does as JSON lines on stdout (docs/data-engineers/ingest.md). Exit code 0: every file is in; 1: some
failed; 2: it could not run or had to stop.
"""

import argparse
import asyncio
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import orjson

from deployments.embedder.export import ensure_model
from deployments.retriever.store import Store, tenant_database
from deployments.settings import Settings, load_settings
from kit.errors import PenstockError, SetupError
from kit.postgres import Databases, with_default_database
from pipelines.ingestion.embedding import OnDemand, PassageEmbedder, start_actors, start_inline
from pipelines.ingestion.files import survey
from pipelines.ingestion.job import Ingestion
from pipelines.ingestion.progress import Event, Progress, Report, Summary
from pipelines.ingestion.word_pieces import tokenize_like

CHUNKING = "chunks-1"
"""Raise it when parsers or the chunker change what they make of a file: documents are then written anew."""

INLINE_BYTES = 512 << 10
"""Up to so much text is embedded in the job's own process: about 8 s on one core, while actors take 4 s to start."""

MAX_FILES_AT_ONCE = 16
"""Enough for eight actors; each takes a connection, of which the serving stages need most."""
MAX_NAME = 200


async def ingest(
    path: Path,
    *,
    collection: str,
    settings: Settings,
    database_url: str,
    tenant: str = "default",
    subject: str | None = None,
    inline: bool | None = None,
    report: Report,
) -> Summary:
    """Bring the documents under `path` into a collection, which is made if it does not exist.

    Documents that are stored with the same content are left alone; those whose file has vanished stay. subject: of
    documents that name none. inline: whether to embed in this process; None decides by size. report: told every event.
    Raises SetupError when nothing can be done, UnavailableError when Postgres stays away.
    """
    _check_name(collection)
    found = await asyncio.to_thread(survey, path)
    precision = settings.embedder.precision
    model = await asyncio.to_thread(ensure_model, settings.home, precision)
    in_process = found.size <= INLINE_BYTES if inline is None else inline

    def start() -> PassageEmbedder:
        return (start_inline if in_process else start_actors)(settings.home, precision)

    files_at_once = min(MAX_FILES_AT_ONCE, max(2, settings.database.max_connections // 4))
    databases = Databases(database_url, files_at_once + 1)
    embedder = OnDemand(start)
    try:
        store = Store(databases.pool(tenant_database(tenant)))
        try:
            target = await store.ensure_collection(collection, settings.retriever.dense_weight)
        except asyncpg.InvalidCatalogNameError as error:
            raise SetupError(f"There is no tenant {tenant!r}.", "Name an existing one with --tenant.") from error
        progress = Progress(collection, found, report)
        recipe = f"{CHUNKING} {model.parent.name}/{model.name}"
        tokenize = await asyncio.to_thread(tokenize_like, model)
        job = Ingestion(
            store, target, embedder, tokenize, progress, recipe=recipe, subject=subject, files_at_once=files_at_once
        )
        await job.run(path)
        current = await store.collection(collection)
        return progress.finish(target.version if current is None else current.version)
    finally:
        await embedder.close()
        await databases.close()


def find_database(settings: Settings) -> str:
    """URL of the control database: the one that is set, else that of the running platform of this home."""
    if settings.database.url is not None:
        return with_default_database(settings.database.url.get_secret_value(), "penstock_control")
    services = settings.home / "run" / "services.json"
    try:
        return str(json.loads(services.read_text())["database_url"])
    except (OSError, ValueError, KeyError) as error:
        raise SetupError("Postgres is not running.", "Start it with `penstock up`, or set DATABASE_URL.") from error


def _check_name(collection: str) -> None:
    if not collection.strip() or len(collection) > MAX_NAME or not collection.isprintable():
        raise SetupError(
            f"{collection!r} cannot be a collection's name.",
            f"Use 1 to {MAX_NAME} printable characters, not only spaces.",
        )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ingest", description="Bring documents into a collection."
    )
    parser.add_argument("--path", type=Path, required=True, help="a file or a folder")
    parser.add_argument("--collection", required=True, help="where to; made if it does not exist")
    parser.add_argument("--tenant", default="default", help="whose collection (default: %(default)s)")
    parser.add_argument("--subject", help="subject of documents that name none")
    parser.add_argument("--inline", action="store_true", default=None, help="embed in this process, without Ray actors")
    return parser.parse_args(argv)


def write_line(event: Event) -> None:
    """An event as a line on stdout."""
    sys.stdout.write(orjson.dumps(event).decode() + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; its exit code."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        settings = load_settings()
        summary = asyncio.run(
            ingest(
                arguments.path,
                collection=arguments.collection,
                settings=settings,
                database_url=find_database(settings),
                tenant=arguments.tenant,
                subject=arguments.subject,
                inline=arguments.inline,
                report=write_line,
            )
        )
    except PenstockError as error:
        write_line({"event": "error", "message": error.message})
        return 2
    except Exception as error:
        traceback.print_exc()
        write_line({"event": "error", "message": f"{type(error).__name__}: {error}"})
        return 2
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
