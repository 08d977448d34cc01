"""What a provider wants back with its reasoning, in a form that callers of another dialect can carry for it.

Anthropic signs its thinking, OpenAI encrypts it; both refuse what the other made. So the state says whose it is, and
only its owner is given it back: a conversation may change provider in its middle.
"""

from typing import Literal

Owner = Literal["anthropic_thinking", "anthropic_redacted", "openai_reasoning"]


def seal(owner: Owner, state: str) -> str:
    """One string that names the owner. Empty for an empty state."""
    return f"{owner}:{state}" if state else ""


def unseal(owner: Owner, sealed: str) -> str | None:
    """The state, None where it is another's."""
    found, _, state = sealed.partition(":")
    return state if found == owner and state else None
