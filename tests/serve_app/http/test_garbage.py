"""Whatever comes in, nothing answers with 500."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PATHS = ("/v1/chat/completions", "/v1/embeddings", "/v1/context/search", "/api/v1/ai-tutor/query")
FIELDS = (
    "model",
    "messages",
    "input",
    "query",
    "question",
    "collection",
    "k",
    "filters",
    "stream",
    "penstock",
    "subject",
)
GOOD = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hi"}],
    "input": "hi",
    "query": "hi",
    "question": "hi",
    "collection": "nowhere",
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["auto@\0", "\ud800", "auto:"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
async def test_wrong_fields_are_client_errors(api: Any, path: str, changes: dict[str, Any]) -> None:
    response = await api.client.post(path, content=json.dumps({**GOOD, **changes}).encode())
    assert response.status_code in (200, 400, 404, 413, 422, 503), response.text
    if response.status_code != 200:
        assert response.json()["error"]["message"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
async def test_bytes_are_client_errors(api: Any, path: str, body: bytes) -> None:
    response = await api.client.post(path, content=body)
    assert response.status_code == 400


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=20))
async def test_ids_of_any_text_are_not_found(api: Any, text: str) -> None:
    id = quote(text.encode("utf-8", "replace"), safe="")
    for path in (f"/v1/models/x{id}", f"/v1/context/x{id}"):
        assert (await api.client.get(path)).status_code == 404


async def test_a_body_that_is_nested_too_deeply_is_refused(api: Any) -> None:
    deep = b"[" * 300 + b"]" * 300
    body = b'{"model":"mock/echo","messages":[{"role":"user","content":"x"}],"deep":' + deep + b"}"
    response = await api.client.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert "nested" in response.json()["error"]["message"]
