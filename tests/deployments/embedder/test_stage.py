import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.embedder.config import EmbedderConfig
from deployments.embedder.model import EmbeddedText, OnnxEmbedder
from deployments.embedder.stage import EmbedderStage
from deployments.embedder.tokenizer import EncodedText, Tokenizer
from deployments.measure import REQUESTS
from kit.errors import UnavailableError, ValidationError
from kit.telemetry import METRICS

PASSAGE = "The water cycle moves water between the oceans, the air and the land. " * 8
SLICE = 256
"""max_batch_tokens of these stages: a PASSAGE has 122 tokens, so two go together."""


class Gate:
    """Holds the model's runs back until opened, remembers each batch's lengths. `poison`: a length that fails."""

    def __init__(self, run: Callable[..., list[EmbeddedText]]) -> None:
        self._run = run
        self._open = threading.Event()
        self._open.set()
        self.batches: list[list[int]] = []
        self.poison: int | None = None

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def run(self, model: OnnxEmbedder, batch: Sequence[EncodedText], *, tokens: Sequence[bool]) -> list[EmbeddedText]:
        self.batches.append([len(text) for text in batch])
        self._open.wait(30)
        if self.poison in self.batches[-1]:
            raise RuntimeError("the model choked")
        return self._run(model, batch, tokens=tokens)

    async def reached(self, batches: int) -> None:
        """Wait until that many batches have come to the model."""
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)


@pytest.fixture
def gate(stage: EmbedderStage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(OnnxEmbedder.run)
    monkeypatch.setattr(OnnxEmbedder, "run", lambda model, batch, *, tokens: gate.run(model, batch, tokens=tokens))
    yield gate
    gate.open()


@pytest.fixture(scope="session")
async def fp32_stage(model_home: Path) -> AsyncIterator[EmbedderStage]:
    """int8 scales activations over a batch, so that neighbours show in a vector; in fp32 they do not."""
    stage = EmbedderStage(EmbedderConfig(precision="fp32", max_batch_tokens=SLICE), model_home)
    await stage.start()
    yield stage
    await stage.close()


@given(requests=st.lists(st.tuples(st.lists(st.text(max_size=60), max_size=4), st.booleans()), max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_callers_at_the_same_time_each_get_their_own_vectors_in_order(
    fp32_stage: EmbedderStage, fp32: OnnxEmbedder, requests: list[tuple[list[str], bool]]
) -> None:
    answers = await asyncio.gather(*(fp32_stage.embed(texts, tokens=tokens) for texts, tokens in requests))
    for (texts, tokens), answer in zip(requests, answers, strict=True):
        expected = fp32.encode(texts, tokens=tokens)
        np.testing.assert_allclose(answer.sentences, expected.sentences, atol=2e-5)
        assert answer.token_counts == expected.token_counts
        assert len(answer.tokens) == (len(texts) if tokens else 0)
        for mine, theirs in zip(answer.tokens, expected.tokens, strict=True):
            np.testing.assert_allclose(mine.vectors, theirs.vectors, atol=2e-5)
            np.testing.assert_array_equal(mine.offsets, theirs.offsets)


async def test_a_request_is_counted(stage: EmbedderStage) -> None:
    before = METRICS.read(REQUESTS, stage="embedder", outcome="ok")
    await stage.embed(["Why is the sky blue?"])
    assert METRICS.read(REQUESTS, stage="embedder", outcome="ok") == before + 1


async def test_questions_that_arrive_while_a_batch_runs_form_the_next_one(stage: EmbedderStage, gate: Gate) -> None:
    gate.close()
    calls = [asyncio.create_task(stage.embed(["Why is the sky blue?"]))]
    await gate.reached(1)
    calls += [asyncio.create_task(stage.embed([f"How far away is star {number}?"])) for number in range(3)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*calls)
    assert gate.batches == [[8], [9, 9, 9]]


async def test_a_question_overtakes_a_large_request(stage: EmbedderStage, gate: Gate) -> None:
    gate.close()
    passages = asyncio.create_task(stage.embed([PASSAGE] * 6))
    await gate.reached(1)
    question = asyncio.create_task(stage.embed(["Why is the sky blue?"]))
    await asyncio.sleep(0)
    gate.open()
    await question
    assert not passages.done()
    await passages
    assert gate.batches == [[122, 122], [8], [122, 122], [122, 122]]


async def test_a_caller_that_leaves_takes_its_waiting_texts_along(stage: EmbedderStage, gate: Gate) -> None:
    gate.close()
    stays = asyncio.create_task(stage.embed(["Why is the sky blue?"]))
    await gate.reached(1)
    leaves = asyncio.create_task(stage.embed([PASSAGE] * 6))
    await asyncio.sleep(0.01)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    gate.open()
    await stays
    await stage.embed(["What is a star?"])
    assert gate.batches == [[8], [7]]


async def test_an_error_in_one_request_spares_its_neighbours(stage: EmbedderStage, gate: Gate) -> None:
    gate.poison = 9
    good, bad, also_good = await asyncio.gather(
        stage.embed(["Why is the sky blue?"]),
        stage.embed(["How far away is star 1?"]),
        stage.embed(["What is a star?"]),
        return_exceptions=True,
    )
    assert isinstance(bad, RuntimeError)
    assert not isinstance(good, BaseException)
    assert not isinstance(also_good, BaseException)
    gate.poison = None
    assert (await stage.embed(["How far away is star 1?"])).token_counts == (9,)


async def test_closing_ends_the_callers_that_wait(model_home: Path, stage: EmbedderStage, gate: Gate) -> None:
    gate.close()
    runs = asyncio.create_task(stage.embed(["Why is the sky blue?"]))
    await gate.reached(1)
    waits = asyncio.create_task(stage.embed([PASSAGE]))
    await asyncio.sleep(0)
    await stage.close()
    for call in (runs, waits):
        with pytest.raises(UnavailableError):
            await call
    with pytest.raises(UnavailableError):
        await stage.embed(["Too late."])


async def test_closing_ends_the_callers_whose_texts_are_being_tokenised(
    stage: EmbedderStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, proceed = threading.Event(), threading.Event()
    encode = Tokenizer.encode

    def held(tokenizer: Tokenizer, texts: Sequence[str]) -> list[EncodedText]:
        reached.set()
        proceed.wait(30)
        return encode(tokenizer, texts)

    monkeypatch.setattr(Tokenizer, "encode", held)
    call = asyncio.create_task(stage.embed([PASSAGE] * 16))
    while not reached.is_set():
        await asyncio.sleep(0.001)
    await stage.close()
    proceed.set()
    with pytest.raises(UnavailableError):
        await call


async def test_large_requests_are_tokenised_off_the_event_loop(
    stage: EmbedderStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    encode = Tokenizer.encode

    def watched(tokenizer: Tokenizer, texts: Sequence[str]) -> list[EncodedText]:
        threads.add(threading.current_thread().name)
        return encode(tokenizer, texts)

    monkeypatch.setattr(Tokenizer, "encode", watched)
    await stage.embed([PASSAGE] * 5)
    assert threading.current_thread().name not in threads
    await stage.embed(["Why is the sky blue?"])
    assert threading.current_thread().name in threads


async def test_a_stage_that_was_not_started_says_so(model_home: Path) -> None:
    stage = EmbedderStage(EmbedderConfig(), model_home)
    with pytest.raises(UnavailableError):
        await stage.embed(["Why is the sky blue?"])
    await stage.close()


async def test_no_texts_need_no_model_run(stage: EmbedderStage, gate: Gate) -> None:
    assert (await stage.embed([])).sentences.shape == (0, 384)
    assert gate.batches == []


async def test_too_many_and_too_long_texts_are_refused_by_name(model_home: Path) -> None:
    stage = EmbedderStage(EmbedderConfig(max_texts=3, max_text_characters=10), model_home)
    await stage.start()
    with pytest.raises(ValidationError) as raised:
        await stage.embed(["a"] * 4)
    assert raised.value.details == {"input": ["4 texts; allowed: at most 3."]}
    with pytest.raises(ValidationError) as raised:
        await stage.embed(["a", "b" * 11])
    assert raised.value.details == {"input.1": ["11 characters; allowed: at most 10."]}
    await stage.close()
