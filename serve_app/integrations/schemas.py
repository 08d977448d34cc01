"""Integrations as clients see them. A key goes in and never comes out."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

MAX_KEY = 500
"""Characters."""
MAX_CONFIG_BYTES = 10_000
_HINT_FROM = 20
"""Characters from which on a key's last four give nothing away."""
_PREFIX = re.compile(r"[A-Za-z]{2,4}[-_]")
_SECRET_NAME = re.compile(r"(?i:(?:^|[_-])(?:api)?(?:key|secret|token|password))$|(?:Key|Secret|Token|Password)$")


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _sendable(value: SecretStr) -> SecretStr:
    """A key travels in a header."""
    key = value.get_secret_value()
    if not 0 < len(key) <= MAX_KEY:
        raise ValueError(f"must have 1 to {MAX_KEY} characters")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError("must be printable ASCII without spaces")
    return value


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration is shown to whoever may read the integration, so that it holds no secret."""
    for name in _names(config):
        if _SECRET_NAME.search(name):
            raise ValueError(f"must not hold {name!r}: a secret belongs into the field `key`, which is never shown")
    if len(orjson.dumps(config)) > MAX_CONFIG_BYTES:
        raise ValueError(f"must not be longer than {MAX_CONFIG_BYTES} bytes of JSON")
    if "\\u0000" in orjson.dumps(config).decode():
        raise ValueError("must not contain NUL characters")
    return config


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _names(member)
    elif isinstance(value, list):
        for member in value:
            yield from _names(member)


Key = Annotated[SecretStr, BeforeValidator(_stripped), AfterValidator(_sendable)]
Config = Annotated[dict[str, Any], AfterValidator(_plain)]


class IntegrationUpdate(BaseModel):
    """The new state of an integration, but for a key that is left out: that one stays, at the same base URL."""

    model_config = ConfigDict(extra="forbid")

    key: Key | None = Field(None, description="The provider's key. Never shown again.")
    base_url: str | None = Field(None, max_length=2048, description="The server's address; none: the provider's own.")
    config: Config = Field(default_factory=dict, description="What belongs to the integration and is no secret.")


class NewIntegration(IntegrationUpdate):
    """A provider and the tenant's key for it."""

    provider: str = Field(max_length=100)


class Integration(BaseModel):
    """A tenant's access to a provider, without the key. Times are ISO 8601, UTC."""

    id: UUID
    user_id: UUID
    provider: str
    base_url: str | None
    config: dict[str, Any]
    hint: str = Field(description="By which people recognise the key.")
    tested: bool = Field(description="Whether the provider accepted the key when it was last tried.")
    tested_at: datetime | None
    problem: str | None = Field(None, description="Why the key could not be tried just now.")
    inserted_at: datetime
    updated_at: datetime


class IntegrationList(BaseModel):
    """One for each provider at most, the oldest first. next_cursor: as in every list; this one has one page."""

    integrations: list[Integration]
    next_cursor: None = None


def hint_of(key: str) -> str:
    """What may be shown of a key: its kind and its last four characters, as `sk-…abcd`; of a short one nothing."""
    if len(key) < _HINT_FROM:
        return "…"
    prefix = _PREFIX.match(key)
    return f"{prefix.group() if prefix else ''}…{key[-4:]}"
