"""The lists of models."""

from typing import Any

import orjson

from load.simulator.openai_chat import CREATED
from load.simulator.providers import Provider


def listing(provider: Provider) -> bytes:
    """As the provider writes it."""
    ids = [model.id for model in provider.models]
    if provider.name == "anthropic":
        found: list[dict[str, Any]] = [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2026-10-07T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": provider.model(name).window,
            }
            for name in ids
        ]
        return orjson.dumps({"data": found, "has_more": False, "first_id": ids[0], "last_id": ids[-1]})
    prefix = "models/" if provider.name == "gemini" else ""
    data = [{"id": prefix + name, "object": "model", "created": CREATED, "owned_by": provider.name} for name in ids]
    return orjson.dumps({"object": "list", "data": data})
