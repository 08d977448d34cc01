"""What Anthropic's models take of what other dialects ask for.

Anthropic took sampling settings out of its API with the models after 4.6, which answer them with status 400; thinking
with a token budget went the same way, and the adaptive kind came with 4.6. Names that are no Claude model (servers that
only speak the dialect) get what is sent.
"""

import re
from typing import Any, Literal

from deployments.provider_caller.translators.fields import Fields

_BUDGETED = re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{6,}|$|-latest))")
_SAMPLED = re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:-\d{6,}|$|-latest))")

Effort = Literal["low", "medium", "high", "xhigh", "max"]
_EFFORTS: dict[str, Effort] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_BUDGETS: dict[Effort, int] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
LEAST_BUDGET = 1024

EFFORTS = frozenset({"none", *_EFFORTS})
"""What `reasoning_effort` may be."""


def sampling(model: str, fields: Fields) -> dict[str, Any]:
    """Temperature, or else top_p: these models take one of the two. Temperature ends at 1 here, and at 2 with OpenAI;
    what is above 1 becomes 1, as in Anthropic's own compatible endpoint."""
    temperature, top_p = fields.find_number("temperature"), fields.find_number("top_p")
    if temperature is not None and not 0 <= temperature <= 2:
        raise fields.wrong("temperature", "a number from 0 to 2")
    if top_p is not None and not 0 <= top_p <= 1:
        raise fields.wrong("top_p", "a number from 0 to 1")
    if model.startswith("claude-") and not _SAMPLED.match(model):
        return {}
    if temperature is not None:
        return {"temperature": min(temperature, 1)}
    return {} if top_p is None else {"top_p": top_p}


def thinking(model: str, effort: str, max_tokens: int, *, forced: bool, shown: bool) -> dict[str, Any]:
    """`thinking` and `output_config.effort` for a reasoning effort of OpenAI's.

    forced: whether a tool must be called, which excludes thinking. shown: whether the caller wants to see a summary.
    """
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    level = _EFFORTS[effort]
    display = {"display": "summarized"} if shown else {}
    if not _BUDGETED.match(model):
        if level == "xhigh" and _SAMPLED.match(model):
            level = "high"  # 4.6 has no xhigh; what is not there is never made dearer.
        thought = {} if forced else {"thinking": {"type": "adaptive", **display}}
        return {"output_config": {"effort": level}, **thought}
    budget = min(_BUDGETS[level], max_tokens // 2)
    if forced or budget < LEAST_BUDGET:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget, **display}}
