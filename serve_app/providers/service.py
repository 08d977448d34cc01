"""Which models a tenant may name, and embeddings."""

import base64
from typing import Any

from deployments.embedder.config import EmbedderConfig
from deployments.protocols import Embedder, ModelInfo, Router
from deployments.provider_caller.catalogue import LOCAL, LOCAL_MODEL
from kit.errors import NotFoundError, PenstockError
from serve_app.context.service import ContextService
from serve_app.http.errors import bad_field
from serve_app.providers.schemas import AvailableModel, EmbeddingsRequest, Model

LOCAL_EMBEDDING_MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
GROUNDING = "auto"
"""The model that is listed once more for each collection."""


class ProvidersService:
    """Models and embeddings. One instance per replica."""

    def __init__(self, router: Router, embedder: Embedder, context: ContextService, config: EmbedderConfig) -> None:
        self._router = router
        self._embedder = embedder
        self._context = context
        self.embedding_model = LOCAL_EMBEDDING_MODEL if config.use_local else config.remote_model

    async def models(self, tenant: str) -> list[Model]:
        """Every model that can be used now, `auto@COLLECTION` for each collection, and the embedding model."""
        found = [model for model in await self._router.models(tenant) if model.available]
        listed = [_listed(model.id, model) for model in found]
        listed += [_listed(id, model) for id, model in await self._grounded(tenant, found)]
        listed.append(Model(id=self.embedding_model, created=0, owned_by="penstock"))
        return list({model.id: model for model in listed}.values())

    async def model(self, tenant: str, id: str) -> Model:
        """One model. Raises NotFoundError that lists the models."""
        models = await self.models(tenant)
        wanted = LOCAL if id == LOCAL_MODEL else id  # answers carry the long name
        for model in models:
            if model.id == wanted:
                return model
        known = ", ".join(model.id for model in models)
        raise NotFoundError(
            f"There is no model {id!r}. Available: {known}.", details={"model": [f"must be one of {known}"]}
        )

    async def available(self, tenant: str) -> list[AvailableModel]:
        """Every model with provider, price, context window and state."""
        found = await self._router.models(tenant)
        plain = [_available(model.id, model) for model in found]
        return plain + [
            _available(id, model, collection=id.partition("@")[2]) for id, model in await self._grounded(tenant, found)
        ]

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

    async def _grounded(self, tenant: str, models: Any) -> list[tuple[str, ModelInfo]]:
        """`auto@COLLECTION` for each collection; none while Postgres is lost, which chat survives."""
        auto = next((model for model in models if model.id == GROUNDING), None)
        if auto is None:
            return []
        try:
            names = await self._context.collections(tenant)
        except PenstockError:
            return []
        return [(f"{GROUNDING}@{name}", auto) for name in names]


def _floats(vector: Any) -> Any:
    return vector.tolist()


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _listed(id: str, model: ModelInfo) -> Model:
    return Model(id=id, created=model.created, owned_by=model.provider)


def _available(id: str, model: ModelInfo, collection: str | None = None) -> AvailableModel:
    return AvailableModel(
        id=id,
        provider=model.provider,
        context_window=model.context_window,
        input_price_per_million_usd=_per_million(model.input_price),
        output_price_per_million_usd=_per_million(model.output_price),
        state="available" if model.available else "unavailable",
        collection=collection,
    )


def _per_million(nano_dollars_per_token: int | None) -> float | None:
    return None if nano_dollars_per_token is None else nano_dollars_per_token / 1000
