import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from deployments.measure import REQUESTS
from kit.telemetry import METRICS


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Basic abc"}, {"x-api-key": "pst_wrong"}]
)
async def test_a_request_without_a_good_key_is_a_401(api: Any, headers: dict[str, str]) -> None:
    api.client.headers, kept = {}, api.client.headers
    try:
        response = await api.client.get("/v1/models", headers=headers)
        platform = await api.client.post("/api/v1/ai-tutor/query", headers=headers, json={"question": "x"})
    finally:
        api.client.headers = kept
    assert response.status_code == platform.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert platform.json()["error"]["code"] == "AUTHENTICATION_ERROR"
    assert platform.json()["error"]["request_id"] == platform.headers["x-request-id"]


async def test_both_headers_carry_a_key(api: Any) -> None:
    for headers in ({"x-api-key": api.key}, {"authorization": f"bearer {api.key}"}):
        assert (await api.client.get("/v1/models", headers={"authorization": "", **headers})).status_code == 200


async def test_a_good_request_id_comes_back_and_a_bad_one_is_replaced(api: Any) -> None:
    assert (await api.client.get("/health/live", headers={"x-request-id": "my-id:1.2"})).headers[
        "x-request-id"
    ] == "my-id:1.2"
    for bad in ("a b", "x" * 129, "{}", ""):
        response = await api.client.get("/health/live", headers={"x-request-id": bad})
        assert response.headers["x-request-id"].startswith("req_")


async def test_unknown_paths_and_methods_have_the_familys_error_shape(api: Any) -> None:
    missing = await api.client.get("/api/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"].keys() == {"code", "message", "details", "request_id"}
    wrong_method = await api.client.get("/v1/chat/completions")
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "POST"
    assert wrong_method.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff", b'{"model": NaN}'])
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/embeddings", "/v1/context/search", "/api/v1/ai-tutor/query"]
)
async def test_a_body_that_is_no_json_object_is_a_400(api: Any, path: str, body: bytes) -> None:
    response = await api.client.post(path, content=body)
    assert response.status_code == 400
    assert "request body" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v1/context/search"])
async def test_a_body_that_says_to_be_something_else_than_json_is_a_415(api: Any, path: str) -> None:
    for wrong in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = await api.client.post(path, content=b"{}", headers={"content-type": wrong})
        assert response.status_code == 415
        assert wrong.partition(";")[0] in response.json()["error"]["message"]
    for right in (
        {},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "application/problem+json"},
    ):
        assert (await api.client.post(path, content=b"{}", headers=right)).status_code == 400


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo", "/health/live", "/docs"])
async def test_head_says_what_get_would_say_without_its_body(api: Any, path: str) -> None:
    got, head = await api.client.get(path), await api.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    assert (await api.client.head("/v1/chat/completions")).status_code == 405


async def test_errors_of_the_messages_family_have_its_shape_whatever_fails(api: Any) -> None:
    for response in (
        await api.client.post("/v1/messages", json={}, headers={"authorization": ""}),
        await api.client.post("/v1/messages", content=b"{"),
        await api.client.get("/v1/messages"),
        await api.client.get("/v1/models/nothing", headers={"anthropic-version": "2023-06-01"}),
    ):
        error = response.json()
        assert error.keys() == {"type", "error", "request_id"}
        assert error["error"].keys() == {"type", "message"}
        assert error["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    assert "request-id" not in (await api.client.get("/v1/models")).headers


async def test_a_body_over_the_limit_is_a_413_whether_it_says_its_length_or_not(api: Any) -> None:
    async def chunks() -> Any:
        for _ in range(30):
            yield b" " * 10_000

    for content in (b" " * 100_001, chunks()):
        response = await api.client.post("/v1/chat/completions", content=content)
        assert response.status_code == 413
        assert "100000 bytes" in response.json()["error"]["message"]
    assert (await api.client.post("/v1/chat/completions", content=b" " * 99_999)).status_code == 400


async def test_an_unexpected_failure_says_nothing_but_its_request_id(api: Any, capsys: Any) -> None:
    response = await api.chat("crash")
    assert response.status_code == 500
    assert "secret-detail" not in response.text
    assert response.json()["error"]["type"] == "server_error"
    assert response.headers["x-request-id"].startswith("req_")


async def test_a_client_that_leaves_before_its_request_is_complete_harms_nobody(api: Any) -> None:
    url = urlsplit(api.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {api.key}\r\ncontent-length: 500\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.transport.abort()
    assert (await api.chat()).status_code == 200


async def test_only_listed_origins_may_call_from_a_browser(api: Any) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    good = await api.client.options("/v1/chat/completions", headers={"origin": "https://app.example", **preflight})
    assert good.headers["access-control-allow-origin"] == "https://app.example"
    bad = await api.client.options("/v1/chat/completions", headers={"origin": "https://evil.example", **preflight})
    assert "access-control-allow-origin" not in bad.headers
    answer = await api.client.get("/v1/models", headers={"origin": "https://app.example"})
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_the_documentation_is_open_and_names_every_path(api: Any) -> None:
    assert (await api.client.get("/docs", headers={"authorization": ""})).status_code == 200
    document = (await api.client.get("/openapi.json", headers={"authorization": ""})).json()
    assert set(document["paths"]) >= {
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/responses/{id}",
        "/v1/models",
        "/v1/models/available",
        "/v1/models/{id}",
        "/v1/embeddings",
        "/api/v1/ai-tutor/query",
        "/v1/context/search",
        "/v1/context/{id}",
        "/health",
        "/health/live",
        "/health/ready",
        "/health/detailed",
        "/api/health",
        "/api/v1/ai-tutor/health",
        "/metrics",
    }
    body = document["paths"]["/v1/context/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["filters"]["properties"].keys() == {"subject", "class_level", "source"}
    assert "$ref" not in str(body)
    assert document["paths"]["/v1/models/{id}"]["get"]["parameters"][0]["name"] == "id"
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]


async def test_every_request_is_counted_for_the_ingress(api: Any) -> None:
    def count(**tags: str) -> float:
        return METRICS.read(REQUESTS, stage="ingress", **tags)

    ok, refused, failed = count(operation="chat", outcome="ok"), count(outcome="refused"), count(outcome="error")
    await api.chat()
    await api.chat("gpt-99")
    await api.chat("breaks", stream=True)
    assert count(operation="chat", outcome="ok") == ok + 1
    assert count(outcome="refused") == refused + 1
    assert count(outcome="error") == failed + 1
