"""Which chat requests may be answered from the exact cache, and under which key."""

from deployments.cache.config import CacheConfig
from deployments.cache.key import answer_key
from deployments.cache.policy import CachePolicy
from deployments.protocols import CacheKey
from serve_app.chat.answers import Ask
from serve_app.chat.prompt import PROMPT_VERSION

_TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")
_SHAPES_NOTHING = frozenset({"stream", "stream_options", "user", "metadata", "store", "safety_identifier"})
_ELSEWHERE = frozenset({"model", "messages", "response_format", *_TOOLS})


class AnswerKeys:
    """Keys of one replica. policy_version: of the routing policy, which decides what `auto` means."""

    def __init__(self, config: CacheConfig, policy_version: str) -> None:
        self._policy = CachePolicy(config) if config.enabled else None
        self._policy_version = policy_version

    def cacheable(self, ask: Ask) -> bool:
        """Whether an answer of before may be given: one choice, and as the caller says or else the policy admits."""
        chat = ask.chat
        if self._policy is None or chat.extras.use_cache is False or chat.body.get("n") not in (None, 1):
            return False
        grounded = ask.collection is not None
        return chat.extras.use_cache is True or self._policy.admits_temperature(
            chat.body.get("temperature"), grounded=grounded
        )

    def key(self, ask: Ask, revision: str | None) -> CacheKey:
        """The key of a resolved request. revision: of its collection, None without one."""
        body = ask.chat.body
        grounded = ask.collection is not None
        return answer_key(
            tenant=ask.tenant,
            model=ask.model,
            policy_version=f"{self._policy_version}:{ask.operation}" if ask.model.startswith("auto") else None,
            messages=body["messages"],
            sampling={n: v for n, v in body.items() if n not in _SHAPES_NOTHING and n not in _ELSEWHERE},
            tools=[body.get(name) for name in _TOOLS],
            response_format=body.get("response_format"),
            prompt_version=PROMPT_VERSION if grounded else None,
            collection=ask.collection,
            collection_revision=revision,
            retrieval={"filters": dict(ask.filters), "k": ask.k} if grounded else None,
        )
