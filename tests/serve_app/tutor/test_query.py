import json
from typing import Any, get_args

from deployments.router.rules import OPERATIONS
from serve_app.chat.answers import NANO
from serve_app.tutor.schemas import Operation

QUESTION = "How does vapour form rain?"
TEXT = "Rain forms when vapour condenses in cold clouds. The drops then fall."


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(block[0].removeprefix("event: "), json.loads(block[1].removeprefix("data: "))) for block in blocks]


async def ask(api: Any, **fields: Any) -> Any:
    body = {"question": QUESTION, "collection": api.collection, "cache": False, **fields}
    return await api.client.post("/api/v1/ai-tutor/query", json=body)


async def test_an_answer_names_its_sources_and_how_it_came_about(api: Any) -> None:
    document = await api.write("rain.md", TEXT)
    response = await ask(api, model="echo")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["answer"] == f"You asked: {QUESTION} [1]"
    [citation] = answer["citations"]
    assert citation["document_id"] == str(document)
    assert (citation["document"], citation["source"], citation["number"]) == ("Rain.Md", "rain.md", 1)
    assert citation["quote"] in TEXT
    assert isinstance(citation["score"], float)
    assert (answer["model"], answer["provider"], answer["cache"]) == ("echo", "mock", "off")
    assert answer["cost_usd"] == 2_500 / NANO
    assert answer["operation_type"]
    assert answer["route_reason"]
    assert answer["collection"] == api.collection
    assert answer["request_id"] == response.headers["x-request-id"]
    assert answer["usage"]["total_tokens"] == 15


async def test_the_local_provider_quotes_the_passages(api: Any) -> None:
    await api.write("rain.md", TEXT)
    answer = (await ask(api, question="Rain forms when vapour condenses in cold clouds?")).json()
    assert (answer["provider"], answer["cost_usd"]) == ("local", 0)
    assert answer["answered"] in (True, False)
    for citation in answer["citations"]:
        assert citation["quote"] in TEXT


async def test_a_stream_has_tokens_then_citations_then_the_result(api: Any) -> None:
    await api.write("rain.md", TEXT)
    response = await ask(api, model="echo", stream=True)
    assert response.headers["x-penstock-model"] == "echo"
    found = events(response.text)
    assert [name for name, _ in found] == ["token", "token", "token", "citations", "done"]
    assert "".join(data["text"] for name, data in found if name == "token") == "one two three"
    whole = (await ask(api, model="echo")).json()
    assert found[-1][1].keys() == whole.keys() - {"answer", "citations"}
    assert found[-1][1]["cost_usd"] == whole["cost_usd"]


async def test_a_local_stream_costs_nothing_and_cites(api: Any) -> None:
    await api.write("rain.md", TEXT)
    found = dict(events((await ask(api, stream=True)).text))
    assert found["done"]["provider"] == "local"
    assert found["done"]["cost_usd"] == 0
    assert "citations" in found["citations"]


async def test_a_broken_stream_ends_with_an_error_event(api: Any) -> None:
    await api.write("rain.md", TEXT)
    for model in ("breaks", "truncated"):
        found = events((await ask(api, model=model, stream=True)).text)
        assert found[-1][0] == "error"
        assert found[-1][1]["error"]["code"] == "UPSTREAM_ERROR"
        assert "done" not in dict(found)


async def test_an_error_before_the_first_event_is_an_http_error(api: Any) -> None:
    response = await ask(api, model="gpt-99", stream=True)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "NOT_FOUND"


async def test_a_subject_narrows_the_search(api: Any) -> None:
    await api.write("rain.md", TEXT)
    await api.write("vapour.md", "Vapour in chemistry.", subject="chemistry")
    await ask(api, model="echo", subject="chemistry")
    assert [passage.source for passage in api.provider.seen[0].passages] == ["vapour.md"]


async def test_among_several_collections_one_must_be_named(api: Any) -> None:
    first = api.collection
    await api.write("rain.md", TEXT)
    api.collection += "b"
    await api.write("rain.md", TEXT)
    response = await ask(api, collection=None)
    assert response.status_code == 400
    assert first in response.json()["error"]["details"]["collection"][0]


async def test_wrong_fields_are_named(api: Any) -> None:
    response = await ask(api, question="", k=0, stream="maybe")
    assert response.status_code == 400
    assert response.json()["error"]["details"].keys() == {"question", "k", "stream"}


async def test_without_retrieval_the_tutor_answers_from_the_model_alone(run_api: Any) -> None:
    async with run_api(rag_enabled=False) as api:
        response = await ask(api, model="echo")
        assert response.status_code == 200
        assert response.json()["citations"] == []
        assert response.json()["collection"] is None


async def test_the_caller_may_state_the_query_type(api: Any) -> None:
    await api.write("rain.md", TEXT)
    answer = (await ask(api, query_type="practice")).json()
    assert answer["operation_type"] == "practice"
    assert "asked for practice" in answer["route_reason"]
    refused = await ask(api, query_type="poetry")
    assert refused.status_code == 400
    assert "practice" in str(refused.json()["error"]["details"]["query_type"])


def test_the_query_types_are_the_routers_operation_types() -> None:
    assert get_args(Operation) == OPERATIONS
