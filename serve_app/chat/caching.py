"""Which chat requests may be answered from the exact cache, and under which key."""

from collections.abc import Callable

from deployments.cache.config import CacheConfig
from deployments.cache.key import answer_key
from deployments.cache.policy import CachePolicy
from deployments.protocols import Account, CacheKey
from deployments.router.decide import is_auto
from serve_app.chat.answers import Ask
from serve_app.chat.prompt import PROMPT_VERSION


class AnswerKeys:
    """Keys of one replica. variant: what `auto` means for a caller now; see RouterInProcess.variant."""

    def __init__(self, config: CacheConfig, variant: Callable[[Account], str]) -> None:
        self._policy = CachePolicy(config) if config.enabled else None
        self._variant = variant

    def cacheable(self, ask: Ask) -> bool:
        """Whether an answer of before may be given: one choice, and as the caller says or else the policy admits."""
        chat = ask.chat
        if self._policy is None or chat.extras.use_cache is False or chat.choices != 1:
            return False
        grounded = ask.collection is not None
        return chat.extras.use_cache is True or self._policy.admits_temperature(chat.temperature, grounded=grounded)

    def key(self, ask: Ask, revision: str | None) -> CacheKey:
        """The key of a resolved request. revision: of its collection, None without one.

        An answer is kept in the dialect that it was given in, so the dialect is part of what was said.
        """
        grounded = ask.collection is not None
        return answer_key(
            tenant=ask.tenant,
            model=ask.model,
            policy_version=f"{self._variant(ask.account)}:{ask.operation}" if is_auto(ask.model) else None,
            messages=[ask.chat.dialect, *ask.chat.conversation],
            sampling=ask.chat.options(),
            prompt_version=PROMPT_VERSION if grounded else None,
            collection=ask.collection,
            collection_revision=revision,
            retrieval={"filters": dict(ask.filters), "k": ask.k} if grounded else None,
        )
