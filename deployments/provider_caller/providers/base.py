"""What distinguishes one provider from another over HTTP: where it listens, what it speaks, what it refuses.

A provider is a subclass with a handful of values; it overrides a method only where it really differs. Connections,
streams, time limits and errors are the client's (`http_client.py`) and the same for all.
"""

import re
from collections.abc import Mapping
from typing import Any

from deployments.protocols import Dialect
from deployments.provider_caller.usage import USAGE_READERS, UsageReader

PATHS: Mapping[Dialect, str] = {
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
    "anthropic_messages": "/messages",
}

ONLY_AT_OPENAI = (
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
)
"""Fields of both of OpenAI's dialects that mean something to OpenAI only; others that speak them answer with 400."""

_TOO_LONG = re.compile(
    r"maximum context length|context[ _]window|context limit|context[ _]length|prompt is too long"
    r"|reduce the length of the messages|input token count .*exceeds",
    re.IGNORECASE,
)


class Provider:
    """One provider. Subclasses set the values; an instance holds no state and no secret."""

    id: str
    name: str
    """For people."""
    base_url: str
    dialects: tuple[Dialect, ...] = ("openai_chat",)
    """What it speaks natively, the one to translate into first."""
    check_path: str = "/models"
    """A GET there with a key is answered with one of `check_statuses` where the key is good. It costs nothing."""
    check_statuses: frozenset[int] = frozenset({200})
    needs_key: bool = True
    entry: Mapping[str, Any] | None = None
    """The provider's entry of configs/providers.yaml, for packages that bring their own. The file's wins."""

    def dialect(self, caller: Dialect, content: Mapping[str, Any], model: str) -> Dialect:
        """The dialect to call it in: the caller's if it speaks it."""
        return caller if caller in self.dialects else self.dialects[0]

    def path(self, dialect: Dialect) -> str:
        """Where requests of a dialect go, after the base URL."""
        return PATHS[dialect]

    def headers(self, key: str | None, dialect: Dialect) -> dict[str, str]:
        """What authenticates a request."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def wire_model(self, model: str) -> str:
        """The name of a model on the wire."""
        return model

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """The request as this provider takes it. Gives back `content` itself, not a copy, where it is fine as it is:
        then the caller's bytes go out unchanged."""
        return content

    def surcharge(self, content: Mapping[str, Any], dialect: Dialect) -> str | None:
        """The field by which a caller's request costs what no price table of tokens has: another rate, or a charge
        beside the tokens. None for any other request. dialect: the caller's."""
        return None

    mends: bool = False
    """Whether answers must be mended; streams are then parsed event by event."""

    def mend_answer(self, content: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
        """A whole answer as the dialect promises it."""
        return content

    def mend_event(self, content: dict[str, Any], dialect: Dialect) -> list[dict[str, Any]]:
        """The data of one event as the dialect promises it: one, none or several. The client numbers them."""
        return [content]

    def usage_reader(self, dialect: Dialect) -> UsageReader:
        """Reads the `usage` object of an answer."""
        return USAGE_READERS[dialect]

    def refuses_key(self, status: int, error: Mapping[str, Any]) -> bool:
        """Whether an error means that the key is no good. Its words are then kept from the caller."""
        return status in (401, 403)

    def too_long(self, status: int, error: Mapping[str, Any]) -> bool:
        """Whether an error means that the prompt does not fit into the model's context window."""
        if error.get("code") == "context_length_exceeded":
            return True
        return status in (400, 413, 422) and _TOO_LONG.search(str(error.get("message") or "")) is not None


def has_tool(content: Mapping[str, Any], *kinds: str) -> bool:
    """Whether a tool is of a type that begins with one of these."""
    tools = content.get("tools")
    if not isinstance(tools, list):
        return False
    types = (tool.get("type") for tool in tools if isinstance(tool, dict))
    return any(isinstance(kind, str) and kind.startswith(kinds) for kind in types)


def without(content: Mapping[str, Any], *fields: str) -> Mapping[str, Any]:
    """The request without some fields; itself where it has none of them."""
    if not any(field in content for field in fields):
        return content
    return {name: value for name, value in content.items() if name not in fields}
