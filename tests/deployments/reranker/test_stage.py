from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest

from deployments.protocols import Passage, RerankRequest
from deployments.reranker.config import RerankerConfig
from deployments.reranker.late_interaction import Int8Vectors, quantize
from deployments.reranker.stage import RerankerStage

QUESTION = np.eye(4, 384, dtype=np.float32)
EMPTY = np.empty((0, 384), dtype=np.int8)


class MemorySource:
    """Token vectors from a dictionary; remembers what was asked for."""

    def __init__(self, vectors: dict[int, Int8Vectors]) -> None:
        self.vectors = vectors
        self.asked: list[tuple[str, list[int]]] = []

    async def load(self, tenant: str, chunk_ids: Sequence[UUID]) -> list[Int8Vectors]:
        self.asked.append((tenant, [chunk.int for chunk in chunk_ids]))
        return [self.vectors.get(chunk.int, EMPTY) for chunk in chunk_ids]


def passage(number: int, score: float) -> Passage:
    identity = UUID(int=number)
    return Passage(identity, identity, "Tides", "tides.md", "", f"text {number}", score, {"fused": score})


def matching(words: int) -> Int8Vectors:
    """A passage that holds that many of the question's words."""
    return quantize(np.eye(384, dtype=np.float32)[[*range(words), 100, 101]])


def request(
    passages: Sequence[Passage], k: int = 10, tokens: np.ndarray = QUESTION, tenant: str = "acme"
) -> RerankRequest:
    return RerankRequest(tenant, "What pulls the tides?", tokens, tuple(passages), k)


def numbers(passages: Sequence[Passage]) -> list[int]:
    return [passage.chunk_id.int for passage in passages]


THREE = [passage(1, 0.9), passage(2, 0.88), passage(3, 0.2)]
VECTORS = {1: matching(0), 2: matching(4), 3: matching(1)}


async def test_a_passage_that_holds_the_words_of_the_question_moves_up() -> None:
    found = await RerankerStage(RerankerConfig(), MemorySource(VECTORS)).rerank(request(THREE))
    assert numbers(found) == [2, 1, 3]
    assert found[0].scores["late_interaction"] == pytest.approx(1, abs=0.01)
    assert found[0].scores["fused"] == 0.88
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


async def test_only_the_k_best_come_back() -> None:
    assert numbers(await RerankerStage(RerankerConfig(), MemorySource(VECTORS)).rerank(request(THREE, k=1))) == [2]


async def test_only_the_candidates_are_reranked_but_never_fewer_than_asked_for() -> None:
    stage = RerankerStage(RerankerConfig(candidates=1), MemorySource({1: matching(0), 2: matching(0), 3: matching(4)}))
    assert numbers(await stage.rerank(request(THREE, k=2))) == [1, 2]


@pytest.mark.parametrize(
    ("config", "tokens"),
    [(RerankerConfig(enabled=False), QUESTION), (RerankerConfig(), np.empty((0, 0), dtype=np.float32))],
    ids=["off", "no token vectors"],
)
async def test_the_order_stays_where_there_is_nothing_to_compare(config: RerankerConfig, tokens: np.ndarray) -> None:
    source = MemorySource(VECTORS)
    found = await RerankerStage(config, source).rerank(request(THREE, k=2, tokens=tokens))
    assert found == tuple(THREE[:2])
    assert source.asked == []


async def test_no_passages_stay_no_passages() -> None:
    assert await RerankerStage(RerankerConfig(), MemorySource({})).rerank(request([])) == ()


async def test_vectors_are_read_once() -> None:
    source = MemorySource(VECTORS)
    stage = RerankerStage(RerankerConfig(), source)
    await stage.rerank(request(THREE[:2]))
    await stage.rerank(request(THREE))
    await stage.rerank(request(THREE))
    assert source.asked == [("acme", [1, 2]), ("acme", [3])]


async def test_a_tenant_never_gets_the_vectors_of_another() -> None:
    source = MemorySource(VECTORS)
    stage = RerankerStage(RerankerConfig(), source)
    await stage.rerank(request(THREE[:2]))
    await stage.rerank(request(THREE[:2], tenant="zenith"))
    assert source.asked == [("acme", [1, 2]), ("zenith", [1, 2])]


async def test_a_passage_without_vectors_keeps_its_place_and_is_asked_for_again() -> None:
    source = MemorySource({1: matching(1), 3: matching(0)})
    stage = RerankerStage(RerankerConfig(), source)
    found = await stage.rerank(request(THREE))
    assert numbers(found) == [1, 2, 3]
    assert "late_interaction" not in found[1].scores
    await stage.rerank(request(THREE))
    assert source.asked == [("acme", [1, 2, 3]), ("acme", [2])]


async def test_many_long_passages_are_ranked_the_same_off_the_event_loop() -> None:
    noise = np.random.default_rng(5).standard_normal((60, 300, 384)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    vectors = {number: quantize(noise[number]) for number in range(60)}
    vectors[42] = np.concatenate([vectors[42], matching(4)])
    passages = [passage(number, 1 - number / 100) for number in range(50)]
    assert (
        numbers(await RerankerStage(RerankerConfig(weight=1.0), MemorySource(vectors)).rerank(request(passages)))[0]
        == 42
    )
