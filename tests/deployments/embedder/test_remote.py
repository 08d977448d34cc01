import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from deployments.embedder import remote
from deployments.embedder.config import EmbedderConfig
from deployments.embedder.remote import RemoteEmbedder
from deployments.measure import REQUESTS
from kit.errors import UnavailableError, UpstreamError, ValidationError
from kit.telemetry import METRICS

Answer = Callable[[dict[str, Any]], web.StreamResponse]


def vector_of(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Not normalised, different for different texts."""
    vector = np.ones(384, np.float32)
    vector[len(text)] = 3
    return vector


def as_numbers(request: dict[str, Any]) -> web.Response:
    data = [{"index": i, "embedding": vector_of(text).tolist()} for i, text in enumerate(request["input"])]
    return web.json_response({"data": data[::-1], "usage": {"prompt_tokens": sum(map(len, request["input"]))}})


def as_base64(request: dict[str, Any]) -> web.Response:
    data = [
        {"index": i, "embedding": base64.b64encode(vector_of(text).tobytes()).decode()}
        for i, text in enumerate(request["input"])
    ]
    return web.json_response({"data": data, "usage": {"prompt_tokens": 7}})


@dataclass
class Provider:
    """A server on loopback that speaks the embeddings API. `answers`: one for each coming request; the last stays."""

    url: str = ""
    answers: list[Answer] = field(default_factory=lambda: [as_base64])
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(body)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    application = web.Application(client_max_size=10**8)
    application.router.add_post("/v1/embeddings", provider.handle)
    async with TestServer(application) as server:
        provider.url = str(server.make_url("/v1"))
        yield provider


@pytest.fixture
async def embedder(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RemoteEmbedder]:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.001)
    embedder = RemoteEmbedder(EmbedderConfig(use_local=False), base_url=provider.url + "/", key=SecretStr("the-key"))
    await embedder.start()
    yield embedder
    await embedder.close()


def status(code: int, **headers: str) -> Answer:
    return lambda request: web.json_response({"error": {"message": "no such model"}}, status=code, headers=headers)


def json(content: Any) -> Answer:
    return lambda request: web.json_response(content)


@pytest.mark.parametrize("answer", [as_base64, as_numbers])
async def test_vectors_come_normalised_and_in_order_whatever_the_encoding(
    provider: Provider, embedder: RemoteEmbedder, answer: Answer
) -> None:
    provider.answers = [answer]
    texts = ["one", "three", "seventeen"]
    embeddings = await embedder.embed(texts, tokens=True)
    assert embeddings.sentences.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings.sentences, axis=1), 1, atol=1e-6)
    assert [int(row.argmax()) for row in embeddings.sentences] == [3, 5, 9]
    assert embeddings.tokens == ()


async def test_it_asks_for_384_dimensions_with_the_key(provider: Provider, embedder: RemoteEmbedder) -> None:
    await embedder.embed(["one"])
    assert provider.requests == [
        {"model": "text-embedding-3-small", "input": ["one"], "dimensions": 384, "encoding_format": "base64"}
    ]
    assert provider.headers[0]["Authorization"] == "Bearer the-key"


async def test_many_texts_go_in_several_calls_and_stay_in_order(
    provider: Provider, embedder: RemoteEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TEXTS_PER_CALL", 2)
    provider.answers = [as_numbers]
    embeddings = await embedder.embed(["a" * length for length in range(1, 8)])
    assert len(provider.requests) == 4
    assert [int(row.argmax()) for row in embeddings.sentences] == list(range(1, 8))
    assert embeddings.token_counts == tuple(range(1, 8))


async def test_token_counts_add_up_to_what_the_provider_counted(embedder: RemoteEmbedder) -> None:
    counts = (await embedder.embed(["one", "three", "seventeen"])).token_counts
    assert sum(counts) == 7
    assert len(counts) == 3


async def test_no_texts_need_no_call(provider: Provider, embedder: RemoteEmbedder) -> None:
    embeddings = await embedder.embed([])
    assert embeddings.sentences.shape == (0, 384)
    assert provider.requests == []


async def test_empty_and_overlong_texts_are_made_acceptable(provider: Provider, embedder: RemoteEmbedder) -> None:
    provider.answers = [lambda request: as_base64({"input": ["x"] * len(request["input"])})]
    await embedder.embed(["", "x" * 20_000, "\ud800"])
    assert [len(text) for text in provider.requests[0]["input"]] == [1, 8_000, 1]


async def test_a_passing_failure_is_tried_again(provider: Provider, embedder: RemoteEmbedder) -> None:
    provider.answers = [status(503), status(429, **{"Retry-After": "0"}), as_base64]
    assert (await embedder.embed(["one"])).sentences.shape == (1, 384)
    assert len(provider.requests) == 3


async def test_a_lasting_failure_ends_after_three_attempts(provider: Provider, embedder: RemoteEmbedder) -> None:
    provider.answers = [status(503)]
    with pytest.raises(UnavailableError, match="openai answered 503"):
        await embedder.embed(["one"])
    assert len(provider.requests) == 3


async def test_a_provider_that_asks_for_a_long_wait_is_not_asked_again(
    provider: Provider, embedder: RemoteEmbedder
) -> None:
    provider.answers = [status(429, **{"Retry-After": "60"})]
    with pytest.raises(UnavailableError) as raised:
        await embedder.embed(["one"])
    assert raised.value.retry_after == 60
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        status(400),
        status(401),
        status(302, Location="http://127.0.0.1:1/"),
        lambda request: web.Response(body=b"<html>", content_type="text/html"),
        json([]),
        json({"data": []}),
        json({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}),
        json({"data": [{"index": 0, "embedding": [0.0] * 384}]}),
        json({"data": [{"index": 0, "embedding": [float("nan")] * 384}]}),
        json({"data": [{"index": 0, "embedding": "not base64!"}]}),
        json({"data": [{"index": 0, "embedding": "AAA="}]}),
        json({"data": [{"index": 1, "embedding": [1.0] * 384}]}),
        json({"data": [{"index": 0, "embedding": [1.0] * 384}] * 2}),
    ],
)
async def test_a_wrong_answer_is_an_upstream_error(
    provider: Provider, embedder: RemoteEmbedder, answer: Answer
) -> None:
    provider.answers = [answer]
    with pytest.raises(UpstreamError):
        await embedder.embed(["one"])
    assert len(provider.requests) == 1


async def test_the_providers_own_words_are_passed_on(provider: Provider, embedder: RemoteEmbedder) -> None:
    provider.answers = [status(404)]
    with pytest.raises(UpstreamError, match="openai answered 404: no such model"):
        await embedder.embed(["one"])


async def test_an_answer_without_usage_counts_nothing(provider: Provider, embedder: RemoteEmbedder) -> None:
    provider.answers = [json({"data": [{"index": 0, "embedding": [1.0] * 384}]})]
    assert (await embedder.embed(["one"])).token_counts == (0,)


async def test_a_provider_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.001)
    embedder = RemoteEmbedder(EmbedderConfig(), base_url="http://127.0.0.1:1/v1", key=None)
    await embedder.start()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await embedder.embed(["one"])
    await embedder.close()


async def test_it_is_unavailable_unless_started(provider: Provider) -> None:
    embedder = RemoteEmbedder(EmbedderConfig(), base_url=provider.url, key=None)
    with pytest.raises(UnavailableError):
        await embedder.embed(["one"])
    await embedder.close()


async def test_the_same_limits_hold_as_for_the_local_model(embedder: RemoteEmbedder) -> None:
    with pytest.raises(ValidationError):
        await embedder.embed(["x"] * 2049)


async def test_a_request_is_counted(embedder: RemoteEmbedder) -> None:
    before = METRICS.read(REQUESTS, stage="embedder", outcome="ok")
    await embedder.embed(["one"])
    assert METRICS.read(REQUESTS, stage="embedder", outcome="ok") == before + 1
