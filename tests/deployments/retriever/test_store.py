import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from deployments.retriever.records import NewChunk, NewDocument

Make = Callable[..., Any]


async def test_a_collection_is_made_once_however_many_ask_at_once(library: Make) -> None:
    store = (await library()).store
    made = await asyncio.gather(*(store.ensure_collection("shared", 0.3) for _ in range(5)))
    assert len({collection.id for collection in made}) == 1
    assert await store.collection("shared") == made[0]
    assert made[0].version == 0
    assert made[0].dense_weight == pytest.approx(0.3)
    assert "shared" in await store.collection_names()


async def test_no_collection_has_a_name_that_postgres_cannot_hold(library: Make) -> None:
    assert await (await library()).store.collection("a\0b") is None


async def test_every_commit_raises_the_version_by_one(library: Make) -> None:
    shelf = await library()
    document = await shelf.write("forces", "A push.", "A pull.")
    await asyncio.gather(*(shelf.write(f"lesson {number}", f"Text {number}.") for number in range(5)))
    await shelf.store.delete_document(document)
    current = await shelf.store.collection(shelf.collection.name)
    assert current.version == 7
    [summary] = [entry for entry in await shelf.store.collections() if entry.collection == current]
    assert (summary.documents, summary.chunks) == (5, 5)


async def test_an_unchanged_document_is_not_written_again(library: Make) -> None:
    shelf = await library()
    first = await shelf.write("forces", "A push.")
    assert await shelf.write("forces", "A push.") is None
    assert (await shelf.store.collection(shelf.collection.name)).version == 1
    assert await shelf.write("forces", "A pull.") == first
    assert await shelf.store.content_hashes(shelf.collection.id, ["forces", "absent"]) == {"forces": b"A pull."}


async def test_two_writers_of_one_source_leave_one_copy(library: Make) -> None:
    shelf = await library()
    written = await asyncio.gather(*(shelf.write("forces", "A push.", "A pull.") for _ in range(4)))
    assert len([document for document in written if document is not None]) == 1
    changes = await shelf.store.changes(shelf.collection.id, -1, vectors=True)
    assert sorted(text for chunks in changes.chunks for text in chunks.texts) == ["A pull.", "A push."]


async def test_a_document_that_fails_on_its_way_leaves_the_old_one(library: Make) -> None:
    shelf = await library()
    await shelf.write("forces", "A push.")

    async def broken() -> AsyncIterator[NewChunk]:
        yield NewChunk(0, "", "New.", 1, np.zeros(384, np.float32), np.zeros((1, 384), np.int8))
        raise RuntimeError("the embedder died")

    with pytest.raises(RuntimeError, match="the embedder died"):
        await shelf.store.replace_document(
            shelf.collection.id, NewDocument("forces", "Forces", b"new", None, None, {}), broken()
        )
    changes = await shelf.store.changes(shelf.collection.id, -1, vectors=True)
    assert [chunks.texts for chunks in changes.chunks] == [["A push."]]
    assert changes.collection.version == 1


async def test_changes_hold_what_came_after_a_version_and_what_lives(library: Make) -> None:
    shelf = await library()
    old = await shelf.write("old", "Old text.")
    gone = await shelf.write("gone", "Gone text.")
    replaced = await shelf.write("replaced", "First text.")
    since = (await shelf.store.collection(shelf.collection.name)).version
    await shelf.store.delete_document(gone)
    await shelf.write("replaced", "Second text.", "Third text.")
    new = await shelf.write("new", "New text.")

    changes = await shelf.store.changes(shelf.collection.id, since, vectors=True)
    assert changes.living == {old, replaced, new}
    assert {document.source for document in changes.documents} == {"replaced", "new"}
    [chunks] = changes.chunks
    assert sorted(chunks.texts) == ["New text.", "Second text.", "Third text."]
    assert chunks.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(chunks.vectors, axis=1), 1, rtol=1e-6)


async def test_the_vectors_come_back_as_they_were_written(library: Make) -> None:
    shelf = await library()
    await shelf.write("forces", "A push.")
    changes = await shelf.store.changes(shelf.collection.id, -1, vectors=True)
    [chunks] = changes.chunks
    np.testing.assert_array_equal(chunks.vectors[0], shelf.query("A push.").vector)
    stored = await shelf.store._database.fetchval("SELECT token_vectors FROM chunks WHERE id = $1", chunks.ids[0])
    assert stored == b"\1" * (2 * 384)


async def test_deleting_a_document_twice_says_so(library: Make) -> None:
    shelf = await library()
    document = await shelf.write("forces", "A push.")
    assert await shelf.store.delete_document(document)
    assert not await shelf.store.delete_document(document)
    assert (await shelf.store.collection(shelf.collection.name)).version == 2
