"""Chat completions as translators hand them to each other: with three things that the other two dialects can both say
and chat cannot.

- `messages[n].thinking_blocks`: reasoning with its sealed state (see reasoning_state);
- `file.file_url`: a document by its address;
- `reasoning_summary`: that a summary of the reasoning is to be shown.
"""

from typing import Any

from deployments.provider_caller.translators.fields import refused

THINKING_BLOCKS = "thinking_blocks"
FILE_URL = "file_url"
REASONING_SUMMARY = "reasoning_summary"


def plain_chat(extended: dict[str, Any]) -> dict[str, Any]:
    """For a provider: without reasoning, which other providers' models cannot read. Raises UnprocessableError for a
    document by its address."""
    for index, message in enumerate(extended["messages"]):
        message.pop(THINKING_BLOCKS, None)
        for position, part in enumerate(message.get("content") or ()):
            if isinstance(part, dict) and FILE_URL in part.get("file", {}):
                field = f"messages[{index}].content[{position}]"
                raise refused(field, "chat completions take no document by its URL", "send its content as base64")
    extended.pop(REASONING_SUMMARY, None)
    return extended
