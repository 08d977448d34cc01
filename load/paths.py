"""The paths through the product that are measured, each as the HTTP request that takes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from load.load_run import SERIAL
from load.questions import QUESTIONS
from load.simulator.providers import PLAIN_MODEL

COLLECTION = "curriculum"
BUSY_CONNECTIONS = 32
BUSY_STREAMS = 16

Server = Literal["product", "simulator", "bare"]


@dataclass(frozen=True, slots=True)
class BenchPath:
    """`server`: what it is sent to, the product, the simulator, or the bare Ray Serve application. `baseline`: the path
    straight to the simulator that it is compared with. `bare`: the path of the bare application with as many
    hops as this one takes in the profile `local`.
    `upstream`: whether its requests must all reach the simulator (True) or none may (False); otherwise the figure is of
    something else, of a cached answer, say. None: the product chooses who answers."""

    name: str
    says: str
    method: str
    target: str
    bodies: tuple[str, ...] = ()
    stream: bool = False
    server: Server = "product"
    baseline: str | None = None
    bare: str | None = None
    upstream: bool | None = False

    @property
    def busy_connections(self) -> int:
        """Connections of the throughput measurement."""
        return BUSY_STREAMS if self.stream else BUSY_CONNECTIONS


def bench_paths(query_options: Mapping[str, Any] | None = None) -> tuple[BenchPath, ...]:
    """All of them, each next to what it is compared with. `query_options`: more fields of each tutor query."""
    unique = [f"{question} (pupil {SERIAL})" for question in QUESTIONS]
    chat, query = "/v1/chat/completions", "/api/v1/ai-tutor/query"
    asked = {"collection": COLLECTION, **(query_options or {})}
    return (
        BenchPath("bare-0", "bare Ray Serve, no hop", "GET", "/zero", server="bare"),
        BenchPath("noop", "liveness, no stage", "GET", "/health/live", bare="bare-0"),
        BenchPath("bare-1", "bare Ray Serve, one hop", "GET", "/one", server="bare"),
        BenchPath(
            "direct",
            "the simulator itself",
            "POST",
            chat,
            _chats(PLAIN_MODEL, unique),
            server="simulator",
            upstream=True,
        ),
        BenchPath(
            "chat",
            "explicit model",
            "POST",
            chat,
            _chats(PLAIN_MODEL, unique),
            baseline="direct",
            bare="bare-1",
            upstream=True,
        ),
        BenchPath(
            "auto", "model chosen by the router", "POST", chat, _chats("auto", unique), baseline="direct", upstream=True
        ),
        BenchPath(
            "direct-stream",
            "the simulator itself, streamed",
            "POST",
            chat,
            _chats(PLAIN_MODEL, unique, stream=True),
            stream=True,
            server="simulator",
            upstream=True,
        ),
        BenchPath(
            "chat-stream",
            "explicit model, streamed",
            "POST",
            chat,
            _chats(PLAIN_MODEL, unique, stream=True),
            stream=True,
            baseline="direct-stream",
            upstream=True,
        ),
        BenchPath(
            "embeddings",
            "one question",
            "POST",
            "/v1/embeddings",
            _bodies({"model": "all-MiniLM-L6-v2", "input": text} for text in unique),
            bare="bare-1",
        ),
        BenchPath(
            "search",
            "embed, retrieve, rerank",
            "POST",
            "/v1/context/search",
            _bodies({"query": text, "collection": COLLECTION, "k": 5} for text in unique),
        ),
        BenchPath(
            "grounded",
            "RAG, local provider, as chat",
            "POST",
            chat,
            _chats(f"local/extractive@{COLLECTION}", unique),
        ),
        BenchPath(
            "query",
            "tutor question, new each time",
            "POST",
            query,
            _bodies({"question": q, **asked} for q in unique),
            upstream=None,
        ),
        BenchPath(
            "query-cached",
            "tutor question, repeated",
            "POST",
            query,
            _bodies([{"question": QUESTIONS[0], **asked}]),
        ),
    )


def _chats(model: str, texts: Sequence[str], *, stream: bool = False) -> tuple[str, ...]:
    extra = {"stream": True} if stream else {}
    return _bodies({"model": model, "messages": [{"role": "user", "content": text}], **extra} for text in texts)


def _bodies(contents: Any) -> tuple[str, ...]:
    return tuple(json.dumps(content) for content in contents)
