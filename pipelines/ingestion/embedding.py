"""Passages to vectors, in this process or in actors of the Ray cluster."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.embedder.export import ensure_model
from deployments.embedder.model import OnnxEmbedder
from kit.errors import SetupError

Precision = Literal["int8", "fp32"]

MAX_ACTORS = 8


@dataclass(frozen=True, slots=True)
class EmbeddedPassages:
    """sentences: float32 [n, 384], L2-normalised. tokens: one int8 [t, 384] a passage, normalised values times 127."""

    sentences: NDArray[np.float32]
    tokens: tuple[NDArray[np.int8], ...]


class PassageEmbedder(Protocol):
    """Embeds passages; any number of calls at once."""

    async def embed(self, texts: Sequence[str]) -> EmbeddedPassages:
        """Embed texts in order."""
        ...

    async def close(self) -> None:
        """Release what embeds."""
        ...


def embed_passages(embedder: OnnxEmbedder, texts: Sequence[str]) -> EmbeddedPassages:
    """One batch, synchronously."""
    embedded = embedder.encode(texts, tokens=True)
    return EmbeddedPassages(embedded.sentences, tuple(quantise(text.vectors) for text in embedded.tokens))


def quantise(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Normalised float32 [t, d] as int8 [t, d]: times 127, rounded."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


class InlineEmbedder:
    """The model in this process."""

    def __init__(self, embedder: OnnxEmbedder) -> None:
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")

    async def embed(self, texts: Sequence[str]) -> EmbeddedPassages:
        """See PassageEmbedder."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, embed_passages, self._embedder, texts)

    async def close(self) -> None:
        """See PassageEmbedder."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def start_inline(home: Path, precision: Precision) -> InlineEmbedder:
    """Load the model into this process. Takes about 0.3 s."""
    threads = min(4, os.cpu_count() or 1)
    return InlineEmbedder(OnnxEmbedder(ensure_model(home, precision), threads=threads))


class EmbedWorker:
    """What an actor runs: the model on the actor's node."""

    def __init__(self, home: Path, precision: Precision, threads: int) -> None:
        self._embedder = OnnxEmbedder(ensure_model(home, precision), threads=threads)

    def embed(self, texts: Sequence[str]) -> EmbeddedPassages:
        """One batch."""
        return embed_passages(self._embedder, texts)


class ActorEmbedder:
    """Some actors; each batch goes to one that has the fewest waiting. At most two batches wait at an actor."""

    def __init__(self, actors: Sequence[Any], kill: Callable[[Any], None]) -> None:
        self._actors = actors
        self._kill = kill
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        for actor in [*actors, *actors]:
            self._free.put_nowait(actor)

    async def embed(self, texts: Sequence[str]) -> EmbeddedPassages:
        """See PassageEmbedder."""
        actor = await self._free.get()
        try:
            embedded: EmbeddedPassages = await actor.embed.remote(texts)
            return embedded
        finally:
            self._free.put_nowait(actor)

    async def close(self) -> None:
        """See PassageEmbedder."""
        for actor in self._actors:
            self._kill(actor)


def start_actors(home: Path, precision: Precision) -> ActorEmbedder:
    """Actors on half of the cluster's CPUs, so that questions are still answered. Takes a few seconds.

    They reserve no CPU: the serving stages may have reserved all of them, and the job would wait for ever. A worker
    that dies is started again and its batch repeated.
    """
    import ray

    if "RAY_ADDRESS" not in os.environ:  # a job has it; without it Ray would take any cluster of this machine
        raise SetupError("This is not a Ray job.", "Use `penstock ingest`, or add --inline to embed in this process.")
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    half = max(1, int(resources.get("CPU", 1)) // 2)
    count = min(half, MAX_ACTORS)
    worker = ray.remote(EmbedWorker).options(
        num_cpus=0, max_restarts=3, max_task_retries=3, scheduling_strategy="SPREAD"
    )
    return ActorEmbedder([worker.remote(home, precision, half // count) for _ in range(count)], ray.kill)


class OnDemand:
    """Starts an embedder when the first passage comes: a run that finds nothing new needs none."""

    def __init__(self, start: Callable[[], PassageEmbedder]) -> None:
        self._start = start
        self._embedder: PassageEmbedder | None = None
        self._starting = asyncio.Lock()

    async def get(self) -> PassageEmbedder:
        """The embedder."""
        async with self._starting:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(self._start)
        return self._embedder

    async def close(self) -> None:
        """Close it if it was started."""
        if self._embedder is not None:
            await self._embedder.close()
