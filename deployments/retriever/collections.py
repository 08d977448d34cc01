"""The collections that are held in memory: loaded on first use, brought up to date, unloaded when room is needed."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from deployments.retriever.records import Collection
from deployments.retriever.snapshot import Snapshot, advance
from deployments.retriever.store import Store

Key = tuple[str, str]
"""Tenant and name of the collection."""


@dataclass(slots=True)
class _Held:
    snapshot: Snapshot | None = None
    loading: asyncio.Task[None] | None = None


class HeldCollections:
    """memory: bytes that all snapshots may take together; the one in use stays, however large it is.
    vectors: whether their vectors are held too."""

    def __init__(self, memory: int, *, vectors: bool) -> None:
        self._memory = memory
        self._vectors = vectors
        self._held: OrderedDict[Key, _Held] = OrderedDict()

    @property
    def loaded(self) -> tuple[Key, ...]:
        """What is in memory, least recently used first."""
        return tuple(key for key, held in self._held.items() if held.snapshot is not None)

    async def snapshot(self, tenant: str, store: Store, wanted: Collection) -> Snapshot | None:
        """A snapshot of at least the version of `wanted`; None when the collection has been removed meanwhile.

        Searches that need the same load wait for one. It goes on when the search that began it is cancelled.
        """
        key = (tenant, wanted.name)
        while True:
            held = self._held.setdefault(key, _Held())
            self._held.move_to_end(key)
            current = held.snapshot
            if current and current.collection.id == wanted.id and current.collection.version >= wanted.version:
                return current
            if held.loading is None:
                held.loading = asyncio.create_task(self._load(key, held, store, wanted), name=f"load {wanted.name}")
            await asyncio.shield(held.loading)
            if held.snapshot is None:
                self._held.pop(key, None)
                return None

    async def close(self) -> None:
        """Forget everything."""
        loading = [held.loading for held in self._held.values() if held.loading is not None]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        self._held.clear()

    async def _load(self, key: Key, held: _Held, store: Store, wanted: Collection) -> None:
        try:
            known = held.snapshot if held.snapshot and held.snapshot.collection.id == wanted.id else None
            since = known.collection.version if known else -1
            changes = await store.changes(wanted.id, since, vectors=self._vectors)
            held.snapshot = None if changes is None else await asyncio.to_thread(advance, known, changes)
        finally:
            held.loading = None
        self._make_room(key)

    def _make_room(self, needed: Key) -> None:
        taken = sum(held.snapshot.memory for held in self._held.values() if held.snapshot)
        for key in [key for key in self._held if key != needed]:
            if taken <= self._memory:
                return
            if (unused := self._held[key]).loading is None:
                taken -= unused.snapshot.memory if unused.snapshot else 0
                del self._held[key]
