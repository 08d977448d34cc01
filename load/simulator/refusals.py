"""Why a provider answers a request with an error before it generates anything."""

from dataclasses import replace

from load.simulator.errors import ProviderError
from load.simulator.faults import REFUSALS, Fault
from load.simulator.prompt import Prompt
from load.simulator.providers import Provider

BAD_KEY = "bad-key"
"""A provider key that starts with this is refused, and echoed, as OpenAI does: the product must not pass it on."""
ANTHROPIC_VERSIONS = ("2026-10-21", "2023-06-01")


def unauthorized(provider: Provider, headers: dict[bytes, bytes]) -> ProviderError | None:
    """The provider's own key and version headers. Only the plain server needs no key."""
    bearer = headers.get(b"authorization", b"")
    key = (bearer[7:] if bearer[:7].lower() == b"bearer " else b"").decode("latin-1")
    if provider.name == "anthropic":
        key = key or headers.get(b"x-api-key", b"").decode("latin-1")
        if headers.get(b"anthropic-version", b"").decode("latin-1") not in ANTHROPIC_VERSIONS:
            wanted = " or ".join(ANTHROPIC_VERSIONS)
            return ProviderError(400, "invalid", f"anthropic-version: header is required; it must be {wanted}")
    if key.startswith(BAD_KEY) and provider.name == "gemini":
        return ProviderError(400, "auth", f"API key not valid. Please pass a valid API key. ({key})")
    if key.startswith(BAD_KEY):
        return ProviderError(401, "auth", f"Incorrect API key provided: {key}. You can find your API key in settings.")
    if not key and provider.name != "compatible":
        return ProviderError(401, "auth", "You didn't provide an API key.")
    return None


def refusal(provider: Provider, prompt: Prompt, fault: Fault | None) -> ProviderError | None:
    """Its fault, a prompt that does not fit, or what this provider cannot do."""
    window = provider.model(prompt.model).window
    if (fault is not None and fault.name == "context_length") or (window is not None and prompt.tokens > window):
        return _too_long(provider, prompt.tokens, window or 128_000)
    if provider.name == "groq" and (prompt.choices > 1 or prompt.logprobs):
        name = "n" if prompt.choices > 1 else "logprobs"
        return ProviderError(400, "invalid", f"'{name}' : this value is not supported with this model", name)
    if fault is None or fault.name not in REFUSALS:
        return None
    error = REFUSALS[fault.name]
    return replace(error, retry_after=fault.value or "1") if fault.name == "429_retry_after" else error


def _too_long(provider: Provider, tokens: int, window: int) -> ProviderError:
    given = max(tokens, window + 1)
    messages = {
        "anthropic": f"prompt is too long: {given} tokens > {window} maximum",
        "gemini": f"The input token count ({given}) exceeds the maximum number of tokens allowed ({window}).",
        "groq": "Please reduce the length of the messages or completion.",
    }
    usual = f"This model's maximum context length is {window} tokens. However, your messages have {given} tokens."
    return ProviderError(400, "context_length", messages.get(provider.name, usual), "messages")
