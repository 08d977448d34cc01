import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.embedder.model import EmbeddedText
from deployments.embedder.queue import Batch, PendingRequest, RequestQueue
from deployments.embedder.tokenizer import EncodedText


def request_of(*lengths: int) -> PendingRequest:
    texts = [EncodedText(np.zeros(length, np.int64), np.zeros((length - 2, 2), np.int32)) for length in lengths]
    return PendingRequest(texts, tokens=False, done=asyncio.get_running_loop().create_future())


def serve(batch: Batch) -> None:
    for request, index in batch.members:
        request.deliver(index, EmbeddedText(np.full(1, len(request.texts[index]), np.float32), None))


@given(
    requests=st.lists(st.lists(st.integers(2, 256), min_size=1, max_size=20), max_size=8),
    batches_between=st.integers(0, 3),
)
async def test_every_text_of_every_request_is_embedded_once_and_answered_in_order(
    requests: list[list[int]], batches_between: int
) -> None:
    queue = RequestQueue(max_texts=8, max_tokens=512)
    pending = []
    served = 0
    for lengths in requests:
        pending.append(request_of(*lengths))
        queue.add(pending[-1])
        for _ in range(batches_between):
            batch = queue.next_batch()
            serve(batch)
            served += len(batch.members)
    while (batch := queue.next_batch()).members:
        assert len(batch.members) <= 8
        assert len(batch.texts) * max(map(len, batch.texts)) <= 512
        serve(batch)
        served += len(batch.members)
    assert served == sum(map(len, requests))
    for lengths, request in zip(requests, pending, strict=True):
        assert [int(result.sentence[0]) for result in request.done.result()] == lengths


async def test_a_question_goes_before_the_rest_of_many_passages() -> None:
    queue = RequestQueue(max_texts=32, max_tokens=512)
    passages, question = request_of(*[128] * 100), request_of(17)
    queue.add(passages)
    queue.next_batch()
    queue.add(question)
    assert queue.next_batch().members == ((question, 0),)


async def test_questions_that_wait_go_together() -> None:
    queue = RequestQueue(max_texts=32, max_tokens=512)
    questions = [request_of(length) for length in (17, 15, 16)]
    for question in questions:
        queue.add(question)
    assert {request for request, _ in queue.next_batch().members} == set(questions)


async def test_a_stream_of_questions_does_not_starve_the_passages() -> None:
    queue = RequestQueue(max_texts=32, max_tokens=512)
    passages = request_of(*[128] * 8)
    queue.add(passages)
    batches = 0
    while not passages.done.done():
        queue.add(request_of(17))
        serve(queue.next_batch())
        batches += 1
        assert batches < 300


async def test_large_requests_take_turns() -> None:
    queue = RequestQueue(max_texts=4, max_tokens=512)
    first, second = request_of(*[128] * 40), request_of(*[64] * 40)
    queue.add(first)
    queue.add(second)
    leaders = [queue.next_batch().members[0][0] for _ in range(12)]
    assert 3 <= leaders.count(first) <= 9


async def test_a_request_whose_caller_is_gone_is_dropped() -> None:
    queue = RequestQueue(max_texts=32, max_tokens=512)
    gone = request_of(17, 17)
    queue.add(gone)
    gone.done.cancel()
    assert queue.next_batch().members == ()
    assert len(queue) == 0
