"""Which targets a prompt fits into.

The prompt's size is an estimate (bytes by four), which is too high for plain English. A target is passed over only
where the prompt would not fit even so; close to the limit the provider decides, and after its refusal only larger
windows are asked.
"""

from collections.abc import Sequence

from deployments.provider_caller.resilience.failures import CONTEXT_LENGTH_EXCEEDED
from deployments.provider_caller.resilience.targets import Plan, Target
from kit.errors import ValidationError


class PromptTooLongError(ValidationError):
    """The prompt is longer than a model's window."""

    code = CONTEXT_LENGTH_EXCEEDED


def fitting(plan: Plan, margin: float) -> tuple[tuple[Target, ...], PromptTooLongError | None]:
    """The targets that can hold the prompt, and why the first one cannot. Raises PromptTooLongError where none can."""
    needed = plan.tokens * (1 - margin) + plan.max_output
    fits = tuple(t for t in plan.targets if t.context_window is None or t.context_window >= needed)
    if len(fits) == len(plan.targets):
        return fits, None
    if not fits:
        raise _too_long(plan, max(plan.targets, key=lambda target: target.context_window or 0))
    return fits, None if fits[0] is plan.targets[0] else _too_long(plan, plan.targets[0])


def larger(targets: Sequence[Target], refused: Target) -> tuple[Target, ...]:
    """The targets whose window is known to be larger than that of one that found the prompt too long."""
    return tuple(t for t in targets if (t.context_window or 0) > (refused.context_window or 0))


def _too_long(plan: Plan, target: Target) -> PromptTooLongError:
    wanted = f" and {plan.max_output} tokens of output" if plan.max_output else ""
    message = (
        f"The prompt of about {plan.tokens} tokens{wanted} does not fit into the {target.context_window} tokens of "
        f"{target.model}. Shorten it or name a model with a larger window."
    )
    return PromptTooLongError(message, details={"messages": [message]}, should_retry=False)
