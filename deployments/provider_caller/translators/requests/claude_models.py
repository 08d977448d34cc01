"""What Anthropic's models take of a reasoning effort.

Adaptive thinking came with the models of 4.6; those before it think within a budget of tokens. Names that are no Claude
model (servers that only speak the dialect) count as new ones.
"""

import re
from typing import Any, Literal

_BUDGETED = re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{6,}|$|-latest))")
_WITHOUT_XHIGH = re.compile(r"claude-(?:opus|sonnet)-4-6")

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


def thinking(model: str, effort: str, max_tokens: int, *, forced: bool, shown: bool) -> dict[str, Any]:
    """`thinking` and `output_config.effort` for a reasoning effort of OpenAI's.

    forced: whether a tool must be called, which excludes thinking. shown: whether the caller wants to see a summary.
    """
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    level = _EFFORTS[effort]
    display = {"display": "summarized"} if shown else {}
    if not _BUDGETED.match(model):
        if level == "xhigh" and _WITHOUT_XHIGH.match(model):
            level = "high"  # The next one that there is would cost more than was asked for.
        thought = {} if forced else {"thinking": {"type": "adaptive", **display}}
        return {"output_config": {"effort": level}, **thought}
    budget = min(_BUDGETS[level], max_tokens // 2)
    if forced or budget < LEAST_BUDGET:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget, **display}}
