"""The texts that wait for the model, shared out fairly between the requests they came with.

Which request is next follows fair queueing (Demers, Keshav and Shenker, 1989): each has a virtual time that starts at
the common clock and grows by the tokens it has had; the clock grows by the tokens served divided by the requests that
wait; next is the one whose slice would finish first. So a question that arrives while a thousand passages are embedded
goes before the rest of them, and a stream of questions does not starve the passages.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.embedder.batching import BatchShape
from deployments.embedder.model import EmbeddedText
from deployments.embedder.tokenizer import EncodedText


class PendingRequest:
    """One call of the stage, and the results that it has so far."""

    def __init__(
        self, texts: Sequence[EncodedText], *, tokens: bool, done: "asyncio.Future[list[EmbeddedText]]"
    ) -> None:
        self.texts = texts
        self.tokens = tokens
        self.done = done
        self.waiting = deque(sorted(range(len(texts)), key=lambda index: len(texts[index])))
        """Indexes of the texts that the model has not seen, shortest first."""
        self.waiting_tokens = sum(map(len, texts))
        self.virtual_time = 0.0
        self._results: dict[int, EmbeddedText] = {}

    def take(self) -> int:
        """The next waiting text's index; it waits no more."""
        index = self.waiting.popleft()
        self.waiting_tokens -= len(self.texts[index])
        self.virtual_time += len(self.texts[index])
        return index

    def deliver(self, index: int, result: EmbeddedText) -> None:
        """Keep one text's result; the last one answers the caller."""
        self._results[index] = result
        if not self.done.done() and len(self._results) == len(self.texts):
            self.done.set_result([self._results[index] for index in range(len(self.texts))])


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through the model together: (request, index of its text) pairs."""

    members: tuple[tuple[PendingRequest, int], ...]

    @property
    def texts(self) -> list[EncodedText]:
        """The members' texts, in order."""
        return [request.texts[index] for request, index in self.members]

    @property
    def tokens(self) -> list[bool]:
        """Which members want token vectors."""
        return [request.tokens for request, _ in self.members]


class RequestQueue:
    """Requests with texts that wait. Not thread-safe: it belongs to the event loop."""

    def __init__(self, max_texts: int, max_tokens: int) -> None:
        """The limits of one batch; max_tokens counts its padding."""
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self._requests: list[PendingRequest] = []
        self._clock = 0.0

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: PendingRequest) -> None:
        """Let a request wait for its turn."""
        request.virtual_time = self._clock
        self._requests.append(request)

    def next_batch(self) -> Batch:
        """Take the texts that go next, empty when nothing waits.

        The request whose turn it is leads; the others fill up what room the batch has for texts of about its length.
        Requests whose caller is gone are dropped.
        """
        self._requests = [request for request in self._requests if not request.done.done()]
        waiting = len(self._requests)
        shape = BatchShape(self._max_texts, self._max_tokens)
        members: list[tuple[PendingRequest, int]] = []
        for request in sorted(self._requests, key=self._virtual_finish):
            while request.waiting and shape.add(len(request.texts[request.waiting[0]])):
                index = request.take()
                members.append((request, index))
                self._clock += len(request.texts[index]) / waiting
        self._requests = [request for request in self._requests if request.waiting]
        return Batch(tuple(members))

    def _virtual_finish(self, request: PendingRequest) -> float:
        """When the request's next slice would be done if all were served at once: a short request's comes early."""
        return request.virtual_time + min(request.waiting_tokens, self._max_tokens)

    def drain(self) -> list[PendingRequest]:
        """Take every request out, whether or not its caller still waits."""
        requests, self._requests = self._requests, []
        return requests
