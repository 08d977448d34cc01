import base64
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI


async def test_the_models_are_listed_with_auto_for_each_collection(api: Any) -> None:
    await api.write("rain.md", "Rain.")
    listed = (await api.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert len(ids) == len(set(ids))
    assert {"auto", "auto:cost", "auto:speed", "auto:quality", "echo", "local", f"auto@{api.collection}"} <= set(ids)


async def test_one_model_is_found_by_its_id_slashes_included(api: Any) -> None:
    await api.write("rain.md", "Rain.")
    for id in ("auto", "auto:cost", "org/echo", f"auto@{api.collection}"):
        assert (await api.client.get(f"/v1/models/{id}")).json()["id"] == id
    async with AsyncOpenAI(api_key=api.key, base_url=f"{api.url}/v1") as client:
        assert (await client.models.retrieve("org/echo")).owned_by == "mock"
        assert len((await client.models.list()).data) > 5
    missing = await api.client.get("/v1/models/a/b/c")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


async def test_available_models_say_price_and_state(api: Any) -> None:
    models = {m["id"]: m for m in (await api.client.get("/v1/models/available")).json()["models"]}
    assert models["echo"]["provider"] == "mock"
    assert models["echo"]["state"] == "available"
    assert models["echo"]["input_price_per_million_usd"] is None
    assert models["local"]["input_price_per_million_usd"] == 0


@pytest.mark.parametrize("format", ["float", "base64"])
async def test_embeddings_come_in_both_formats(api: Any, format: str) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": ["rain", "iron"], "encoding_format": format}
    answer = (await api.client.post("/v1/embeddings", json=body)).json()
    wanted = (await api.embedder.embed(["rain", "iron"])).sentences
    for item, vector in zip(answer["data"], wanted, strict=True):
        raw = item["embedding"]
        got = np.frombuffer(base64.b64decode(raw), "<f4") if format == "base64" else np.array(raw, np.float32)
        assert np.array_equal(got, vector)
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


async def test_the_official_client_gets_embeddings(api: Any) -> None:
    async with AsyncOpenAI(api_key=api.key, base_url=f"{api.url}/v1") as client:
        answer = await client.embeddings.create(model="all-MiniLM-L6-v2", input="rain")
    assert len(answer.data[0].embedding) == 384


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ["a", None]}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 12}, "dimensions"),
        ({"model": None}, "model"),
    ],
)
async def test_a_wrong_embeddings_field_is_named(api: Any, fields: dict[str, Any], field: str) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": "rain", **fields}
    response = await api.client.post("/v1/embeddings", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


async def test_token_ids_are_refused_with_the_reason(api: Any) -> None:
    response = await api.client.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": [1, 2]})
    assert "token ids" in response.json()["error"]["message"]


async def test_another_embedding_model_is_a_404_that_names_the_right_one(api: Any) -> None:
    response = await api.client.post("/v1/embeddings", json={"model": "text-embedding-9", "input": "rain"})
    assert response.status_code == 404
    assert "all-MiniLM-L6-v2" in response.json()["error"]["message"]
