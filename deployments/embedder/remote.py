"""Embeddings from a provider that speaks OpenAI's `POST /embeddings`, for when `embedder.use_local` is false."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Any

import aiohttp
import numpy as np
import orjson
from pydantic import SecretStr

from deployments.embedder.config import DIMENSIONS, EmbedderConfig
from deployments.embedder.limits import check_texts
from deployments.measure import measured
from deployments.protocols import Embeddings, Vectors
from kit.errors import UnavailableError, UpstreamError

TEXTS_PER_CALL = 128
CALLS_AT_ONCE = 4
WINDOW_CHARACTERS = 8_000
"""Where a text is cut: OpenAI's models see 8,191 tokens, and a character is rarely more than one."""

ATTEMPTS = 3
FIRST_WAIT = 0.1
"""Seconds before the second attempt; doubled for the third."""

LONGEST_WAIT = 5.0
"""Seconds; a provider that asks for more than that is taken as unavailable."""


class RemoteEmbedder:
    """Implements `Embedder` over the network. Gives no token vectors: `tokens` stays empty when asked for."""

    def __init__(self, config: EmbedderConfig, *, base_url: str, key: SecretStr | None, timeout: float = 30.0) -> None:
        """base_url: up to and with its version (`https://api.openai.com/v1`). timeout: seconds for one call."""
        self._config = config
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._key = key
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def start(self) -> None:
        """Open the connection pool."""
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(self._timeout))

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @measured("embedder")
    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """Embed texts in order. `token_counts` shares out the provider's total by the texts' lengths.

        Raises ValidationError, UpstreamError for a wrong answer, UnavailableError when the provider cannot be used now.
        """
        check_texts(texts, max_texts=self._config.max_texts, max_characters=self._config.max_text_characters)
        parts = [texts[start : start + TEXTS_PER_CALL] for start in range(0, len(texts), TEXTS_PER_CALL)]
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._embed(part)) for part in parts]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        answers = [call.result() for call in calls]
        if not answers:
            return Embeddings(np.empty((0, DIMENSIONS), np.float32), ())
        return Embeddings(np.concatenate([vectors for vectors, _ in answers]), sum((count for _, count in answers), ()))

    async def _embed(self, texts: Sequence[str]) -> tuple[Vectors, tuple[int, ...]]:
        # The API refuses empty strings.
        inputs = [text[:WINDOW_CHARACTERS].encode("utf-8", "replace").decode() or " " for text in texts]
        request = {
            "model": self._config.remote_model,
            "input": inputs,
            "dimensions": DIMENSIONS,
            "encoding_format": "base64",
        }
        async with self._calls:
            answer = await self._post(orjson.dumps(request))
        return read_vectors(answer, len(texts)), _share_out(answer, [len(text) for text in inputs])

    async def _post(self, body: bytes) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                return await self._attempt(body)
            except UnavailableError as error:
                wait = error.retry_after or FIRST_WAIT * 2**attempt
                if attempt == ATTEMPTS - 1 or wait > LONGEST_WAIT:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, body: bytes) -> Any:
        if self._session is None:
            raise UnavailableError("The embedder is not running.", retry_after=LONGEST_WAIT * 2)
        provider = self._config.remote_provider
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                content = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            raise UnavailableError(f"The embedding provider {provider} cannot be reached: {reason}.") from error
        if status == 429 or status >= 500:
            seconds = float(retry_after) if retry_after.isdigit() else None
            raise UnavailableError(f"The embedding provider {provider} answered {status}.", retry_after=seconds)
        if status != 200:
            raise UpstreamError(f"The embedding provider {provider} answered {status}: {_problem(content)}")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise UpstreamError(f"The embedding provider {provider} did not answer in JSON.") from error


def read_vectors(answer: Any, count: int) -> Vectors:
    """float32 [count, 384], L2-normalised. `embedding` may be numbers or base64 of little-endian float32.

    Raises UpstreamError for an answer that does not hold them.
    """
    try:
        items = {int(item["index"]): item["embedding"] for item in answer["data"]}
        rows = [_read_vector(items[index]) for index in range(count)]
        if len(answer["data"]) != count or any(row.shape != (DIMENSIONS,) for row in rows):
            raise ValueError(f"{count} vectors of {DIMENSIONS} numbers were asked for")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise UpstreamError(f"The embedding provider's answer cannot be read: {error!r}") from error
    vectors = np.stack(rows)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise UpstreamError("The embedding provider's answer holds vectors without direction.")
    return np.asarray(vectors / norms, np.float32)


def _read_vector(embedding: Any) -> Vectors:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.array(embedding, np.float32)


def _share_out(answer: Any, lengths: Sequence[int]) -> tuple[int, ...]:
    """The provider's total of tokens, by length; the parts add up to it. Zeros where it states none."""
    usage = answer.get("usage")
    total = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    ends = np.cumsum(lengths) * (total if isinstance(total, int) else 0) // sum(lengths)
    return tuple(int(count) for count in np.diff(ends, prepend=0))


def _problem(content: bytes) -> str:
    """The provider's own words, cut short."""
    try:
        return str(orjson.loads(content)["error"]["message"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return content[:300].decode("utf-8", "replace")
