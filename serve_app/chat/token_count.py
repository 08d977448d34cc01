"""The estimate behind POST /v1/messages/count_tokens.

No provider is asked, whichever the model's is: its own tokenizer would count differently, a few percent for English.
"""

import orjson

from deployments.provider_caller.money.estimate import BYTES_PER_TOKEN, prompt_tokens
from serve_app.chat.dialects.request import DialectRequest


def estimated_tokens(chat: DialectRequest) -> int:
    """A quarter of the bytes of all texts, system and tool results included, and of the tools' definitions as JSON."""
    tools = chat.body.get("tools")
    definitions = -(-len(orjson.dumps(tools)) // BYTES_PER_TOKEN) if tools else 0
    return prompt_tokens(chat.body, chat.dialect) + definitions
