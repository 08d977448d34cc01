"""Embeddings that are computed once: a file under PENSTOCK_HOME/eval keeps them from run to run.

The key is a hash of the model and the text, so nothing has to be invalidated. A run that is interrupted keeps what it
has computed.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.embedder.config import DIMENSIONS
from deployments.embedder.model import OnnxEmbedder
from deployments.protocols import Embeddings, TokenVectors, Vectors
from deployments.reranker.late_interaction import Int8Vectors, quantize
from kit.errors import SetupError

BATCH = 128
LOOKUP = 500
"""Keys that one query looks up: below SQLite's limit on parameters."""

SCHEMA = "CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, sentence BLOB, tokens BLOB, offsets BLOB)"


class CachedEmbedder:
    """Embeds through a file. Texts (questions, sentences) keep float16 token vectors with their offsets; passages
    keep int8 token vectors, as they are stored in production. For one thread at a time.
    """

    def __init__(self, file: Path, model: str, embedder: OnnxEmbedder) -> None:
        """model: names weights and precision; the same text under another model is another entry."""
        self._model = model
        self._embedder = embedder
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(file, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            for table in ("texts", "passages"):
                self._database.execute(SCHEMA.format(table=table))
        except sqlite3.DatabaseError as error:
            raise SetupError(
                f"{file} cannot be opened: {error}.", "Delete it; it only holds what can be computed."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """As the embedder stage does (`deployments.protocols.Embedder`), but from the file where it can."""
        await asyncio.to_thread(self.prepare, texts)
        rows = self._read("texts", texts)
        sentences = np.stack([np.frombuffer(row[0], np.float32) for row in rows])
        vectors = [
            TokenVectors(
                np.frombuffer(row[1], np.float16).reshape(-1, DIMENSIONS).astype(np.float32),
                np.frombuffer(row[2], np.int32).reshape(-1, 2),
            )
            for row in rows
        ]
        counts = tuple(len(token.vectors) + 2 for token in vectors)
        return Embeddings(sentences, counts, tuple(vectors) if tokens else ())

    def prepare(self, texts: Sequence[str], progress: Callable[[int], None] = lambda count: None) -> None:
        """Compute what the file lacks. progress: told how many more texts are there."""
        for batch, embeddings in self._missing("texts", texts, progress):
            rows = [(t.vectors.astype(np.float16).tobytes(), t.offsets.tobytes()) for t in embeddings.tokens]
            self._write("texts", batch, embeddings.sentences, rows)
            progress(len(batch))

    def passages(self, texts: Sequence[str], progress: Callable[[int], None] = lambda count: None) -> Vectors:
        """Sentence vectors of passages, float32 [n, 384]; their token vectors can then be read."""
        for batch, embeddings in self._missing("passages", texts, progress):
            rows = [(quantize(token.vectors).tobytes(), b"") for token in embeddings.tokens]
            self._write("passages", batch, embeddings.sentences, rows)
            progress(len(batch))
        vectors = [np.frombuffer(row[0], np.float32) for row in self._read("passages", texts, "sentence")]
        return np.stack(vectors) if vectors else np.empty((0, DIMENSIONS), np.float32)

    def passage_tokens(self, texts: Sequence[str]) -> list[Int8Vectors]:
        """int8 [t, 384] of passages that were embedded before."""
        rows = self._read("passages", texts, "tokens")
        return [np.frombuffer(row[0], np.int8).reshape(-1, DIMENSIONS) for row in rows]

    def _missing(
        self, table: str, texts: Sequence[str], progress: Callable[[int], None]
    ) -> Iterator[tuple[list[str], Embeddings]]:
        unique = list(dict.fromkeys(texts))
        known = self._lookup(table, unique, "1")
        missing = [text for text in unique if self._key(text) not in known]
        progress(len(texts) - len(missing))
        # Of like length together, so that little is padded.
        missing.sort(key=len)
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            yield batch, self._embedder.encode(batch, tokens=True)

    def _write(
        self, table: str, texts: Sequence[str], sentences: NDArray[np.float32], rows: Sequence[tuple[bytes, bytes]]
    ) -> None:
        values = [
            (self._key(text), sentence.tobytes(), *row)
            for text, sentence, row in zip(texts, sentences, rows, strict=True)
        ]
        with self._database:
            self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)", values)  # noqa: S608

    def _read(
        self, table: str, texts: Sequence[str], columns: str = "sentence, tokens, offsets"
    ) -> list[tuple[bytes, ...]]:
        found = self._lookup(table, list(dict.fromkeys(texts)), columns)
        return [found[self._key(text)] for text in texts]

    def _lookup(self, table: str, texts: Sequence[str], columns: str) -> dict[bytes, tuple[bytes, ...]]:
        found: dict[bytes, tuple[bytes, ...]] = {}
        for start in range(0, len(texts), LOOKUP):
            keys = [self._key(text) for text in texts[start : start + LOOKUP]]
            marks = ",".join("?" * len(keys))
            rows = self._database.execute(f"SELECT key, {columns} FROM {table} WHERE key IN ({marks})", keys)  # noqa: S608
            found.update((row[0], row[1:]) for row in rows)
        return found

    def _key(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self._model}\0{text}".encode(errors="surrogatepass"), digest_size=16).digest()
