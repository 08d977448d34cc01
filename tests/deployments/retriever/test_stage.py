import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from deployments.protocols import SearchQuery
from deployments.retriever import collections
from deployments.retriever.config import RetrieverConfig
from deployments.retriever.stage import RetrieverStage
from kit.errors import NotFoundError, UnavailableError, ValidationError
from kit.postgres import Databases

Make = Callable[..., Any]

BOTH = pytest.mark.parametrize("vectors", ["memory", "pgvector"])
FUSIONS = pytest.mark.parametrize("fusion", ["convex", "rrf"])


@BOTH
@FUSIONS
async def test_both_sides_find_what_the_other_misses(library: Make, vectors: str, fusion: str) -> None:
    shelf = await library(vectors=vectors, fusion=fusion)
    await shelf.write("words", "The magnet attracts iron filings.", topic="elsewhere")
    await shelf.write("meaning", "Something else entirely.", topic="what pulls iron?")
    await shelf.write("neither", "Rivers carry sand.", topic="geography")
    result = await shelf.stage.search(shelf.query("what pulls iron?", k=2))
    assert {passage.source for passage in result.passages} == {"words", "meaning"}
    assert result.version == 3
    by_source = {passage.source: passage for passage in result.passages}
    assert by_source["words"].scores["lexical"] > 0 == by_source["meaning"].scores["lexical"]
    assert by_source["meaning"].scores["dense"] == pytest.approx(1, abs=1e-5)
    assert all(passage.score == passage.scores["fused"] for passage in result.passages)


@BOTH
async def test_a_passage_says_where_it_comes_from(library: Make, vectors: str) -> None:
    shelf = await library(vectors=vectors)
    document = await shelf.write("forces", "A push.", "A pull.", subject="physics")
    [passage] = (await shelf.stage.search(shelf.query("A pull.", k=1))).passages
    assert (passage.document_id, passage.document, passage.source) == (document, "Forces", "forces")
    assert (passage.heading, passage.text) == ("Forces", "A pull.")
    assert type(passage.chunk_id) is type(passage.document_id) is UUID
    assert (passage.subject, passage.class_level) == ("physics", "grade-8")


@BOTH
async def test_scores_are_the_same_in_memory_and_in_postgres(library: Make, vectors: str) -> None:
    shelf = await library(vectors=vectors)
    texts = [f"Lesson {number} tells of the planets." for number in range(30)]
    await shelf.write("planets", *texts)
    query = shelf.query("planets of the sun", k=30)
    result = await shelf.stage.search(query)
    assert len(result.passages) == 30
    for passage in result.passages:
        expected = float(shelf.query(passage.text).vector @ query.vector)
        assert passage.scores["dense"] == pytest.approx(expected, abs=1e-5)


@BOTH
async def test_a_committed_document_is_found_and_a_deleted_one_is_gone_at_once(library: Make, vectors: str) -> None:
    shelf = await library(vectors=vectors)
    await shelf.write("old", "An old text about rivers.")
    assert await shelf.sources("rivers") == ["old"]
    new = await shelf.write("new", "A new text about rivers.")
    assert set(await shelf.sources("rivers")) == {"old", "new"}
    await shelf.write("old", "Now about mountains.", "And valleys.")
    result = await shelf.stage.search(shelf.query("mountains"))
    assert {passage.text for passage in result.passages if passage.source == "old"} == {
        "Now about mountains.",
        "And valleys.",
    }
    await shelf.store.delete_document(new)
    assert set(await shelf.sources("rivers")) == {"old"}


async def test_a_passage_deleted_during_the_search_gives_its_place_to_the_next(
    library: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = await library()
    best = await shelf.write("best", "Iron, iron and iron.", topic="iron")
    for number in range(4):
        await shelf.write(f"other {number}", f"Iron and {number} more words.")
    await shelf.stage.search(shelf.query("iron"))
    stale = await shelf.store.collection(shelf.collection.name)
    await shelf.store.delete_document(best)

    async def version_before_the_deletion(*_: Any) -> Any:
        return stale

    monkeypatch.setattr("deployments.retriever.stage._collection", version_before_the_deletion)
    sources = await shelf.sources("iron", k=4)
    assert sorted(sources) == [f"other {number}" for number in range(4)]


@BOTH
async def test_filters_match_exactly(library: Make, vectors: str) -> None:
    shelf = await library(vectors=vectors, candidates=1)
    physics = await shelf.write("a/forces", "A push or a pull.", subject="physics")
    await shelf.write("a/cells", "A cell divides.", subject="biology")
    await shelf.write("a/plain", "A text of no subject.")
    for filters in ({"subject": "physics"}, {"document_id": str(physics)}, {"source": "a/forces"}):
        assert await shelf.sources("A cell divides.", filters=filters) == ["a/forces"]
    assert len(await shelf.sources("A text", filters={"class_level": "grade-8"})) == 3
    assert await shelf.sources("A cell", filters={"subject": "physics", "source": "a/cells"}) == []
    assert await shelf.sources("A cell", filters={"subject": "Physics"}) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": " \n"}, "query"),
        ({"k": 0}, "k"),
        ({"k": 1001}, "k"),
        ({"filters": {"author": "x"}}, "filters.author"),
        ({"vector": np.zeros(3, np.float32)}, "vector"),
    ],
)
async def test_bad_input_names_the_field(library: Make, fields: dict[str, Any], field: str) -> None:
    shelf = await library()
    query = SearchQuery(
        **{"tenant": "default", "collection": "c", "text": "t", "vector": np.zeros(384, np.float32)} | fields
    )
    with pytest.raises(ValidationError) as caught:
        await shelf.stage.search(query)
    assert field in caught.value.details


async def test_an_unknown_collection_lists_the_known_ones(library: Make) -> None:
    shelf = await library()
    with pytest.raises(NotFoundError, match=shelf.collection.name):
        await shelf.sources("anything", collection="absent")


async def test_an_unknown_tenant_is_not_found(library: Make) -> None:
    shelf = await library()
    with pytest.raises(NotFoundError, match="tenant"):
        await shelf.sources("anything", tenant="nobody")


async def test_an_empty_collection_finds_nothing(library: Make) -> None:
    assert await (await library()).sources("anything") == []


async def test_a_lost_postgres_is_unavailable() -> None:
    databases = Databases("postgresql://nobody:none@127.0.0.1:1/penstock_control", 2)
    stage = RetrieverStage(RetrieverConfig(), databases)
    query = SearchQuery("default", "c", "text", np.zeros(384, np.float32))
    with pytest.raises(UnavailableError):
        await stage.search(query)
    await databases.close()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks each load brought."""
    counted: list[int] = []
    advance = collections.advance

    def counting(previous: Any, changes: Any) -> Any:
        counted.append(sum(len(chunks.ids) for chunks in changes.chunks))
        return advance(previous, changes)

    monkeypatch.setattr(collections, "advance", counting)
    return counted


async def test_concurrent_first_searches_load_once_and_later_loads_bring_the_difference(
    library: Make, loads: list[int]
) -> None:
    shelf = await library()
    await shelf.write("first", *(f"Text {number}." for number in range(9)))
    await asyncio.gather(*(shelf.sources("Text") for _ in range(10)))
    assert loads == [9]
    await shelf.write("second", "One more.")
    await asyncio.gather(*(shelf.sources("Text") for _ in range(10)))
    assert loads == [9, 1]


async def test_a_load_goes_on_when_the_search_that_began_it_is_cancelled(library: Make, loads: list[int]) -> None:
    shelf = await library()
    await shelf.write("first", "A text.")
    searches = [asyncio.create_task(shelf.sources("text")) for _ in range(3)]
    while not any(task.get_name() == f"load {shelf.collection.name}" for task in asyncio.all_tasks()):
        await asyncio.sleep(0)
    searches[0].cancel()
    assert await asyncio.gather(*searches[1:]) == [["first"], ["first"]]
    assert loads == [1]


async def test_the_least_recently_used_collection_makes_room(library: Make) -> None:
    shelf = await library(memory_mb=1)
    names = [shelf.collection.name]
    await shelf.write("big", *(f"word {number}" for number in range(500)))
    for _ in range(2):
        other = await shelf.store.ensure_collection(f"{names[0]}-{len(names)}")
        names.append(other.name)
        shelf.collection = other
        await shelf.write("big", *(f"word {number}" for number in range(500)))
    for name in names:
        assert await shelf.sources("word", collection=name, k=1)
    assert shelf.stage.loaded == (("default", names[2]),)
    assert await shelf.sources("word", collection=names[0], k=1)
    assert shelf.stage.loaded == (("default", names[0]),)


async def test_a_collection_made_anew_under_its_name_is_loaded_anew(library: Make) -> None:
    shelf = await library()
    await shelf.write("old", "A text.")
    assert await shelf.sources("text") == ["old"]
    await shelf.store._database.execute("DELETE FROM collections WHERE id = $1", shelf.collection.id)
    shelf.collection = await shelf.store.ensure_collection(shelf.collection.name)
    await shelf.write("new", "A text of another time.")
    assert await shelf.sources("text") == ["new"]


async def test_searches_never_fail_while_documents_come_and_go(library: Make) -> None:
    shelf = await library()
    await shelf.write("constant", "The constant text about rivers.", topic="rivers")
    stop = asyncio.Event()

    async def search() -> int:
        done = 0
        while not stop.is_set():
            result = await shelf.stage.search(shelf.query("rivers", k=1))
            assert [passage.source for passage in result.passages] == ["constant"]
            done += 1
        return done

    searches = [asyncio.create_task(search()) for _ in range(3)]
    for number in range(25):
        await shelf.write("changing", f"Version {number} of it.")
        document = await shelf.write(f"passing {number}", "Comes and goes.")
        await shelf.store.delete_document(document)
    stop.set()
    assert all(done > 0 for done in await asyncio.gather(*searches))
