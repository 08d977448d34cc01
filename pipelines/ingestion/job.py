"""One run over a folder: every file becomes one document in one transaction, or a failure with its reason.

1. Files are taken in order, a bounded number at once. One whose content hash is stored is done.
2. The others are parsed and cut; batches of chunks are embedded a few ahead of the COPY that writes them, so a run
   needs the same memory for a shelf of books as for a note.
3. The document's commit is the only record of progress. A run that was killed left whole documents or none; the next
   run finds their hashes.
"""

import asyncio
import hashlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path, PurePath

import asyncpg

from deployments.retriever.indexed_text import indexed_text
from deployments.retriever.records import Collection, NewChunk, NewDocument
from deployments.retriever.store import Store
from kit.errors import UnavailableError
from pipelines.ingestion.chunker import Chunk, Tokenize, chunk
from pipelines.ingestion.document import Document, ParseError
from pipelines.ingestion.embedding import EmbeddedPassages, OnDemand
from pipelines.ingestion.files import File, find_files
from pipelines.ingestion.parsers.registry import parse
from pipelines.ingestion.progress import Progress
from pipelines.ingestion.reading import read

CHUNKS_AT_ONCE = 32
"""Chunks that are embedded and handed over together: under 3 MB of token vectors."""
BATCHES_AHEAD = 4
"""Batches of one document that are embedded before the COPY has taken them."""
HASHES_AT_ONCE = 200
RETRY_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to write a document while Postgres is away: it may be restarting."""


class Ingestion:
    """recipe: what besides a file's bytes shapes its chunks; a change of it makes every document a changed one.
    files_at_once: each takes a database connection while it is written."""

    def __init__(
        self,
        store: Store,
        collection: Collection,
        embedder: OnDemand,
        tokenize: Tokenize,
        progress: Progress,
        *,
        recipe: str,
        subject: str | None = None,
        files_at_once: int = 8,
    ) -> None:
        self._store = store
        self._collection = collection
        self._embedder = embedder
        self._tokenize = tokenize
        self._progress = progress
        self._recipe = f"{recipe}\0{subject or ''}\0".encode()
        self._subject = subject
        self._files_at_once = files_at_once

    async def run(self, root: Path) -> None:
        """Ingest every file under `root`. Raises UnavailableError when Postgres stays away."""
        free = asyncio.Semaphore(self._files_at_once)

        async def one(file: File, known: bytes | None) -> None:
            try:
                await self._file(file, known)
            finally:
                free.release()

        def unreadable(folder: Path, error: OSError) -> None:
            self._progress.failed(str(folder), f"It cannot be listed: {error.strerror}.")

        files = find_files(root, unreadable=unreadable)
        try:
            async with asyncio.TaskGroup() as group:
                while batch := list(itertools.islice(files, HASHES_AT_ONCE)):
                    known = await self._store.content_hashes(self._collection.id, [file.source for file in batch])
                    for file in batch:
                        await free.acquire()
                        group.create_task(one(file, known.get(file.source)))
        except ExceptionGroup as group:
            first = _first(group)
            if not isinstance(first, UnavailableError):
                raise first from None
            raise UnavailableError(
                "Postgres was lost and did not come back. Run the same command again: it goes on where this one ended."
            ) from first

    async def _file(self, file: File, known: bytes | None) -> None:
        try:
            data = await asyncio.to_thread(read, file.path)
        except ParseError as error:
            self._progress.failed(file.source, str(error))
            return
        content_hash = hashlib.sha256(self._recipe + data).digest()
        if content_hash == known:
            self._progress.unchanged(len(data))
            return
        try:
            document = await asyncio.to_thread(parse, data, PurePath(file.source).name)
            written = await self._write(file.source, content_hash, document)
        except ParseError as error:
            self._progress.failed(file.source, str(error), len(data))
        except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
            self._progress.failed(file.source, f"Postgres refuses it: {error}.", len(data))
        else:
            if written is None:  # by another run, between the look at the hashes and now
                self._progress.unchanged(len(data))
            else:
                self._progress.written(len(data), written)

    async def _write(self, source: str, content_hash: bytes, document: Document) -> int | None:
        """How many chunks were written; None when the document is there already."""
        row = NewDocument(
            source=source,
            title=document.title,
            content_hash=content_hash,
            subject=document.subject or self._subject,
            class_level=document.class_level,
            attributes=document.attributes,
        )
        for wait in (*RETRY_WAITS, None):
            try:
                async with aclosing(self._chunks(document)) as chunks:
                    return await self._store.replace_document(self._collection.id, row, chunks)
            except UnavailableError:
                if wait is None:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _chunks(self, document: Document) -> AsyncGenerator[NewChunk]:
        """The chunks in order, embedded."""
        chunks = chunk(document, self._tokenize)
        ahead: deque[tuple[list[Chunk], asyncio.Task[EmbeddedPassages]]] = deque()
        try:
            while True:
                while len(ahead) < BATCHES_AHEAD and (batch := await asyncio.to_thread(_take, chunks)):
                    ahead.append((batch, asyncio.create_task(self._embed(batch))))
                if not ahead:
                    return
                batch, embedding = ahead[0]
                embedded = await embedding
                ahead.popleft()
                self._progress.embedded(len(batch))
                for part, sentence, tokens in zip(batch, embedded.sentences, embedded.tokens, strict=True):
                    yield NewChunk(part.ordinal, part.heading, part.text, part.pieces, sentence, tokens)
        finally:
            for _, embedding in ahead:
                embedding.cancel()
            await asyncio.gather(*(embedding for _, embedding in ahead), return_exceptions=True)

    async def _embed(self, batch: list[Chunk]) -> EmbeddedPassages:
        embedder = await self._embedder.get()
        return await embedder.embed([indexed_text(part.heading, part.text) for part in batch])


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _take(chunks: Iterator[Chunk]) -> list[Chunk]:
    return list(itertools.islice(chunks, CHUNKS_AT_ONCE))
