from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deployments.retriever.records import ChunkRows
from deployments.retriever.store import Store
from deployments.settings import Settings
from kit.ids import uuid7
from kit.postgres import Databases
from pipelines.ingest import ingest
from pipelines.ingestion.progress import Summary

WORDS = [
    "river",
    "mountain",
    "magnet",
    "enzyme",
    "market",
    "treaty",
    "algebra",
    "poem",
    "circuit",
    "glacier",
    "orbit",
    "harvest",
    "verb",
    "fraction",
    "cell",
]


@dataclass
class Desk:
    """A folder of files, a collection of its own, and ingestion of one into the other."""

    folder: Path
    store: Store
    databases: Databases
    settings: Settings
    database_url: str
    collection: str = field(default_factory=lambda: f"i{uuid7().hex}")
    events: list[dict[str, Any]] = field(default_factory=list)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def write_lessons(self, count: int) -> None:
        for number in range(count):
            word = WORDS[number % len(WORDS)]
            self.write(
                f"lesson{number:03}.md", f"# Lesson {number}\nA {word} is described here.\n\n## More\nNumber {number}."
            )

    async def ingest(self, path: Path | None = None, **options: Any) -> Summary:
        return await ingest(
            path or self.folder,
            collection=self.collection,
            settings=self.settings,
            database_url=self.database_url,
            report=lambda event: self.events.append(dict(event)),
            **{"inline": True} | options,
        )

    def told(self, event: str) -> list[dict[str, Any]]:
        return [told for told in self.events if told["event"] == event]

    async def stored(self) -> dict[str, list[str]]:
        """The texts of each document by its source."""
        collection = await self.store.collection(self.collection)
        if collection is None:
            return {}
        changes = await self.store.changes(collection.id, -1, vectors=False)
        assert changes is not None
        source = {document.id: document.source.partition("/")[2] for document in changes.documents}
        texts: dict[str, list[str]] = {name: [] for name in source.values()}
        for chunks in changes.chunks:
            assert isinstance(chunks, ChunkRows)
            for owner, text in zip(chunks.documents, chunks.texts, strict=True):
                texts[source[owner]].append(text)
        return texts


@pytest.fixture
async def desk(services: Any, tmp_path: Path) -> AsyncIterator[Desk]:
    databases = Databases(services.database_url, 10)
    folder = tmp_path / "shelf"
    folder.mkdir()
    yield Desk(
        folder,
        Store(databases.pool(services.tenant_database)),
        databases,
        Settings(home=services.home.path),
        services.database_url,
    )
    await databases.close()
