"""The embedder stage: texts of many callers through one model, in batches of like lengths."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deployments.embedder.config import EmbedderConfig
from deployments.embedder.export import ensure_model
from deployments.embedder.limits import check_texts
from deployments.embedder.model import EmbeddedText, OnnxEmbedder, collect
from deployments.embedder.queue import Batch, PendingRequest, RequestQueue
from deployments.embedder.tokenizer import EncodedText
from deployments.measure import measured
from deployments.protocols import Embeddings
from kit.errors import UnavailableError

INLINE_CHARACTERS = 2_000
"""Shorter requests are tokenised on the event loop (about 0.1 ms); the way to a thread and back takes as long."""

TEXTS_AT_ONCE = 16
"""Texts tokenised between two looks at whether the caller is still there."""


class EmbedderStage:
    """Implements `Embedder`.

    A request that finds the model idle goes straight through; what arrives while a batch runs forms the next ones. One
    thread runs the model, another tokenises large requests.
    """

    def __init__(self, config: EmbedderConfig, home: Path) -> None:
        self._config = config
        self._home = home
        self._queue = RequestQueue(config.max_batch_size, config.max_batch_tokens)
        self._arrived = asyncio.Event()
        self._model: OnnxEmbedder | None = None
        self._runner: asyncio.Task[None] | None = None
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="embedder-model")
        self._tokenizer_thread = ThreadPoolExecutor(1, thread_name_prefix="embedder-tokenizer")

    async def start(self) -> None:
        """Load the model, exporting it first where it is not there. Raises SetupError when it cannot be had."""
        self._model = await asyncio.get_running_loop().run_in_executor(self._model_thread, self._load)
        self._runner = asyncio.create_task(self._run(self._model), name="embedder")

    async def close(self) -> None:
        """End waiting callers with UnavailableError and let go of the model."""
        runner, self._runner, self._model = self._runner, None, None
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        for thread in (self._model_thread, self._tokenizer_thread):
            thread.shutdown(wait=False, cancel_futures=True)

    @measured("embedder")
    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """Embed texts in order; those longer than the model's window are cut at its end.

        Raises ValidationError for too many or too long texts, UnavailableError when the stage is not running.
        """
        check_texts(texts, max_texts=self._config.max_texts, max_characters=self._config.max_text_characters)
        model = self._running_model()
        encoded = await self._tokenise(model, texts)
        if not encoded:
            return collect([], [])
        self._running_model()  # it may have been closed while the texts were tokenised
        request = PendingRequest(encoded, tokens=tokens, done=asyncio.get_running_loop().create_future())
        self._queue.add(request)
        self._arrived.set()
        return collect(await request.done, [len(text) for text in encoded])

    def _running_model(self) -> OnnxEmbedder:
        if self._model is None or self._runner is None or self._runner.done():
            raise UnavailableError("The embedder is not running.", retry_after=1)
        return self._model

    def _load(self) -> OnnxEmbedder:
        file = ensure_model(self._home, self._config.precision)
        model = OnnxEmbedder(file, threads=self._config.threads)
        model.encode(["The first run allocates memory; no caller waits for that."], tokens=True)
        return model

    async def _tokenise(self, model: OnnxEmbedder, texts: Sequence[str]) -> list[EncodedText]:
        if sum(map(len, texts)) <= INLINE_CHARACTERS and len(texts) <= TEXTS_AT_ONCE:
            return model.tokenizer.encode(texts)
        loop = asyncio.get_running_loop()
        encoded: list[EncodedText] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            encoded += await loop.run_in_executor(self._tokenizer_thread, model.tokenizer.encode, part)
        return encoded

    async def _run(self, model: OnnxEmbedder) -> None:
        """Batch after batch until cancelled."""
        batch = Batch(())
        try:
            while True:
                if not len(self._queue):
                    self._arrived.clear()
                    await self._arrived.wait()
                    await asyncio.sleep(self._config.batch_wait_ms / 1000)
                batch = self._queue.next_batch()
                if batch.members:
                    await self._embed(model, batch)
        finally:
            for request in {request for request, _ in batch.members} | set(self._queue.drain()):
                if not request.done.done():
                    request.done.set_exception(UnavailableError("The embedder is shutting down.", retry_after=1))

    async def _embed(self, model: OnnxEmbedder, batch: Batch) -> None:
        """Run a batch and deliver its results. When it fails, each request is tried alone and bears its own error."""
        try:
            results = await self._in_model_thread(model, batch)
        except Exception as error:  # whatever the runtime raises belongs to the callers, not to this loop
            requests = {request for request, _ in batch.members}
            if len(requests) == 1:
                _fail(requests.pop(), error)
                return
            for request in requests:
                await self._embed(model, Batch(tuple(member for member in batch.members if member[0] is request)))
            return
        for (request, index), result in zip(batch.members, results, strict=True):
            request.deliver(index, result)

    async def _in_model_thread(self, model: OnnxEmbedder, batch: Batch) -> list[EmbeddedText]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._model_thread, lambda: model.run(batch.texts, tokens=batch.tokens))


def _fail(request: PendingRequest, error: Exception) -> None:
    if not request.done.done():
        request.done.set_exception(error)
