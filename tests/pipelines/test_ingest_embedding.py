import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kit.errors import SetupError
from pipelines.ingestion.embedding import ActorEmbedder, EmbeddedPassages, OnDemand, quantise, start_actors


class FakeActor:
    """Answers when told to; looks like a Ray actor's handle."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[EmbeddedPassages]] = []

    @property
    def embed(self) -> "FakeActor":
        return self

    def remote(self, texts: Sequence[str]) -> asyncio.Future[EmbeddedPassages]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


DONE = EmbeddedPassages(np.zeros((1, 384), np.float32), ())


async def test_batches_spread_over_actors_and_at_most_two_wait_at_one() -> None:
    actors = [FakeActor(), FakeActor()]
    embedder = ActorEmbedder(actors, lambda actor: None)
    calls = [asyncio.create_task(embedder.embed(["text"])) for _ in range(6)]
    await asyncio.sleep(0)
    assert [len(actor.waiting) for actor in actors] == [2, 2]
    actors[1].waiting[0].set_result(DONE)
    await asyncio.sleep(0.01)
    assert [len(actor.waiting) for actor in actors] == [2, 3]
    actors[0].waiting[0].set_exception(RuntimeError("lost"))
    await asyncio.sleep(0.01)
    assert [len(actor.waiting) for actor in actors] == [3, 3]
    for actor in actors:
        for future in actor.waiting:
            if not future.done():
                future.set_result(DONE)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, RuntimeError) for result in results) == 1


async def test_closing_kills_every_actor() -> None:
    killed: list[Any] = []
    actors = [FakeActor(), FakeActor()]
    await ActorEmbedder(actors, killed.append).close()
    assert killed == actors


async def test_an_embedder_on_demand_is_started_once_and_only_when_asked() -> None:
    started: list[ActorEmbedder] = []

    def start() -> ActorEmbedder:
        started.append(ActorEmbedder([FakeActor()], lambda actor: None))
        return started[-1]

    unused = OnDemand(start)
    await unused.close()
    assert started == []
    used = OnDemand(start)
    assert len({id(embedder) for embedder in await asyncio.gather(*(used.get() for _ in range(5)))}) == 1
    assert len(started) == 1


def test_actors_are_refused_outside_a_ray_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SetupError, match="--inline"):
        start_actors(tmp_path, "int8")


def test_quantised_vectors_are_within_half_a_step() -> None:
    vectors = np.random.default_rng(1).standard_normal((50, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(quantise(vectors) / 127, vectors, atol=0.5 / 127 + 1e-6)
    assert quantise(np.array([[1.0000001, -1.0000001]], np.float32)).tolist() == [[127, -127]]
