"""Which models a tenant may name, and embeddings."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from deployments.embedder.config import EmbedderConfig
from deployments.protocols import Embedder, ModelInfo, Router
from deployments.provider_caller.catalogue import LOCAL, LOCAL_MODEL
from deployments.router.decide import PLATFORM
from kit.errors import NotFoundError, PenstockError
from serve_app.context.service import ContextService
from serve_app.http.errors import bad_field
from serve_app.providers.schemas import (
    AnthropicModel,
    AnthropicPage,
    AvailableModel,
    EmbeddingsRequest,
    Model,
    PageQuery,
)

LOCAL_EMBEDDING_MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
GROUNDING = "auto"
"""The model that is always listed once more for each collection."""
MAX_GROUNDED = 500
"""Ids with a collection, of all models together, beyond which only `auto` is listed with collections."""


class ProvidersService:
    """Models and embeddings. One instance per replica."""

    def __init__(self, router: Router, embedder: Embedder, context: ContextService, config: EmbedderConfig) -> None:
        self._router = router
        self._embedder = embedder
        self._context = context
        self.embedding_model = LOCAL_EMBEDDING_MODEL if config.use_local else config.remote_model

    async def models(self, tenant: str) -> list[ModelInfo]:
        """Every model that can be used now, the same with `@COLLECTION` for each collection, the embedding model.

        `auto` is listed with every collection; the others too, as long as the list stays one that people can read.
        """
        usable = [model for model in await self._router.models(tenant) if model.available]
        collections = await self._collections(tenant)
        many = len(usable) * len(collections) > MAX_GROUNDED
        grounding = [model for model in usable if not many or model.id == GROUNDING]
        listed = [*usable, *(_grounded(model, name) for name in collections for model in grounding)]
        listed.append(ModelInfo(self.embedding_model, PLATFORM, None, None, None, True))
        return list({model.id: model for model in listed}.values())

    async def model(self, tenant: str, id: str) -> ModelInfo:
        """One model, also one with `@COLLECTION` that is not listed. Raises NotFoundError that lists the models."""
        models = {model.id: model for model in await self.models(tenant)}
        wanted = LOCAL if id == LOCAL_MODEL else id  # answers carry the long name
        if wanted in models:
            return models[wanted]
        base, _, collection = wanted.rpartition("@")
        if base in models and collection in await self._collections(tenant):
            return _grounded(models[base], collection)
        known = ", ".join(models)
        raise NotFoundError(
            f"There is no model {id!r}. Available: {known}.", details={"model": [f"must be one of {known}"]}
        )

    async def anthropic_models(self, tenant: str, query: PageQuery) -> AnthropicPage:
        """A page of the same list. Raises ValidationError for an id that is not in it."""
        models = await self.models(tenant)
        ids = [model.id for model in models]
        start, stop = 0, len(models)
        if query.after_id is not None:
            start = _place(ids, "after_id", query.after_id) + 1
            stop = min(stop, start + query.limit)
            more = stop < len(models)
        elif query.before_id is not None:
            stop = _place(ids, "before_id", query.before_id)
            start = max(0, stop - query.limit)
            more = start > 0
        else:
            stop = min(stop, query.limit)
            more = stop < len(models)
        page = [anthropic_model(model) for model in models[start:stop]]
        first, last = (page[0].id, page[-1].id) if page else (None, None)
        return AnthropicPage(data=page, has_more=more, first_id=first, last_id=last)

    async def available(self, tenant: str) -> list[AvailableModel]:
        """Every model with provider, price, context window and state."""
        found = await self._router.models(tenant)
        automatic = [model for model in found if model.id == GROUNDING]
        grounded = [_available(m, name) for name in await self._collections(tenant) for m in automatic]
        return [_available(model) for model in found] + grounded

    async def embed(self, request: EmbeddingsRequest) -> dict[str, Any]:
        """OpenAI's embeddings response. Raises NotFoundError for another model."""
        if request.model != self.embedding_model:
            raise NotFoundError(
                f"There is no embedding model {request.model!r}. Available: {self.embedding_model}.",
                details={"model": [f"must be one of {self.embedding_model}"]},
            )
        if request.dimensions not in (None, DIMENSIONS):
            raise bad_field("dimensions", f"must be {DIMENSIONS}, which is what the model has")
        embeddings = await self._embedder.embed(request.texts)
        vectors = embeddings.sentences.astype("<f4", copy=False)
        encode = _base64 if request.encoding_format == "base64" else _floats
        tokens = sum(embeddings.token_counts)
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": n, "embedding": encode(v)} for n, v in enumerate(vectors)],
            "model": self.embedding_model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def _collections(self, tenant: str) -> list[str]:
        """Names of the tenant's collections; none while Postgres is lost, which chat survives."""
        try:
            return await self._context.collections(tenant)
        except PenstockError:
            return []


def openai_model(model: ModelInfo) -> Model:
    """A model in OpenAI's shape."""
    return Model(id=model.id, created=model.created, owned_by=model.provider)


def anthropic_model(model: ModelInfo) -> AnthropicModel:
    """A model in Anthropic's shape."""
    created = datetime.fromtimestamp(model.created, UTC)
    return AnthropicModel(id=model.id, display_name=model.id, created_at=created, max_input_tokens=model.context_window)


def _grounded(model: ModelInfo, collection: str) -> ModelInfo:
    return replace(model, id=f"{model.id}@{collection}")


def _place(ids: Sequence[str], field: str, id: str) -> int:
    if id not in ids:
        raise bad_field(field, "must be the id of a listed model")
    return ids.index(id)


def _floats(vector: Any) -> Any:
    return vector.tolist()


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _available(model: ModelInfo, collection: str | None = None) -> AvailableModel:
    return AvailableModel(
        id=model.id if collection is None else f"{model.id}@{collection}",
        provider=model.provider,
        context_window=model.context_window,
        input_price_per_million_usd=_per_million(model.input_price),
        output_price_per_million_usd=_per_million(model.output_price),
        state="available" if model.available else "unavailable",
        collection=collection,
    )


def _per_million(nano_dollars_per_token: int | None) -> float | None:
    return None if nano_dollars_per_token is None else nano_dollars_per_token / 1000
