from typing import Any
from uuid import UUID

from kit.ids import uuid7


async def search(api: Any, query: str = "rain clouds", **fields: Any) -> Any:
    return await api.client.post("/v1/context/search", json={"query": query, "collection": api.collection, **fields})


async def test_the_best_passage_comes_first(api: Any) -> None:
    document = await api.write("rain.md", "Rain falls from clouds.")
    await api.write("iron.md", "Iron rusts.")
    response = await search(api)
    assert response.status_code == 200, response.text
    found = response.json()
    assert (found["collection"], found["count"]) == (api.collection, 2)
    assert found["version"] >= 1
    best = found["results"][0]
    assert best["document_id"] == str(document)
    assert best["text"] == "Rain falls from clouds."
    assert best["scores"] is None


async def test_an_explained_search_names_the_parts_of_each_score(api: Any) -> None:
    await api.write("rain.md", "Rain falls from clouds.")
    await api.write("iron.md", "Iron rusts.")
    reranked = (await search(api, explain=True)).json()["results"][0]["scores"]
    plain = (await search(api, explain=True, rerank=False)).json()["results"][0]["scores"]
    assert reranked.keys() - plain.keys() == {"late_interaction"}


async def test_filters_and_k_limit_what_is_found(api: Any) -> None:
    await api.write("rain.md", "Rain falls from clouds.")
    await api.write("iron.md", "Iron clouds.", subject="chemistry")
    results = (await search(api, filters={"subject": "chemistry"})).json()["results"]
    assert [result["source"] for result in results] == ["iron.md"]
    assert (await search(api, k=1)).json()["count"] == 1
    response = await search(api, filters={"colour": "red"})
    assert response.status_code == 400
    assert list(response.json()["error"]["details"]) == ["filters.colour"]


async def test_a_document_is_shown_with_its_chunks(api: Any) -> None:
    document = await api.write("rain.md", "Rain falls from clouds.")
    response = await api.client.get(f"/v1/context/{document}")
    assert response.status_code == 200, response.text
    shown = response.json()
    assert (shown["title"], shown["collection"], shown["state"]) == ("Rain.Md", api.collection, "ready")
    assert shown["attributes"] == {"pages": 3}
    assert [chunk["text"] for chunk in shown["chunks"]] == ["Rain falls from clouds."]


async def test_an_id_of_nothing_is_a_404(api: Any) -> None:
    for id in (uuid7(), UUID(int=0), "nonsense", "%00"):
        response = await api.client.get(f"/v1/context/{id}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "NOT_FOUND"


async def test_an_unknown_collection_is_a_404(api: Any) -> None:
    response = await search(api)
    assert response.status_code == 404
    assert response.json()["error"]["details"]["collection"]
