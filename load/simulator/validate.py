"""Judges requests and answers by the official SDKs' types.

The verdict on a body depends on its structure and not on its texts, so verdicts are kept by structure: benchmark
requests, which differ in their questions alone, are judged once.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

KEPT = 20_000
_FREE_TEXT = frozenset(
    {
        "arguments", "call_id", "content", "data", "delta", "description", "id", "image_url", "input", "instructions",
        "item_id", "message", "model", "name", "output", "partial_json", "prompt_cache_key", "reasoning",
        "safety_identifier", "signature", "stop", "stop_sequences", "system", "text", "thinking", "title", "token",
        "tool_call_id", "tool_use_id", "url", "user", "user_id", "snippet",
    }
)  # fmt: skip
"""Fields whose strings may say anything."""
_ANY_OBJECT = frozenset({"parameters", "schema", "input_schema"})
"""Fields whose objects may hold anything."""


@dataclass(frozen=True, slots=True)
class Problem:
    """field: the path of what is wrong, `messages.0.content`. unknown: there is no such field."""

    field: str
    message: str
    unknown: bool = False


class Judge:
    """lenient: unknown fields at the top of a body are ignored for every provider."""

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._verdicts: dict[Any, Problem | None] = {}
        # Here, so that without validation the simulator runs without the SDKs.
        from load.simulator import schemas

        schemas.build_all()
        self._types = schemas

    def request(self, name: str, body: dict[str, Any]) -> Problem | None:
        """What is wrong with a body. name: of its type in `schemas`."""
        key = (name, _structure(body, ""))
        try:
            return self._verdicts[key]
        except KeyError:
            return self._keep(key, self._judge_request(name, body))

    def reply(self, name: str, content: Any, *, event: bool = False) -> Problem | None:
        """What is wrong with an answer of ours or an event of it."""
        key = (name, event, _structure(content, ""))
        try:
            return self._verdicts[key]
        except KeyError:
            return self._keep(key, self._judge_reply(name, content, event))

    def _keep(self, key: Any, verdict: Problem | None) -> Problem | None:
        if len(self._verdicts) >= KEPT:
            self._verdicts.clear()
        self._verdicts[key] = verdict
        return verdict

    def _judge_request(self, name: str, body: dict[str, Any]) -> Problem | None:
        types = self._types
        request, known = types.REQUESTS[name], types.known_fields(name)
        unknown = [field for field in body if field not in known]
        if unknown and not (self._lenient or request.lenient):
            return Problem(unknown[0], f"Unknown parameter: '{unknown[0]}'.", unknown=True)
        own = {field: value for field, value in body.items() if field in known and field not in request.also}
        try:
            for field in request.also.keys() & body.keys():
                types.field_validator(name, field).validate_python(body[field], strict=True)
            types.request_validator(name, body.get("stream") is True).validate_python(own, strict=True)
        except ValidationError as error:
            return _worst(error, body)
        return None

    def _judge_reply(self, name: str, content: Any, event: bool) -> Problem | None:
        try:
            self._types.reply_adapter(name, event).validate_json(orjson.dumps(content), strict=True)
        except ValidationError as error:
            return _worst(error, content)
        return None


def _structure(value: Any, field: str) -> Any:
    """What a verdict can depend on: fields, types, and the strings that are not free."""
    kind = type(value)
    if kind is str:
        if field == "model" and "/" in value:
            return value.partition("/")[0]  # Perplexity asks more of the models of some providers
        return str if field in _FREE_TEXT or len(value) > 64 else value
    if kind is dict:
        if field in _ANY_OBJECT or field == "input":
            return dict
        return tuple([(name, _structure(item, name)) for name, item in value.items()])
    if kind is list:
        return (list, *[_structure(item, field) for item in value])
    return kind


def _worst(error: ValidationError, body: Any) -> Problem:
    """The error that people need: of the union's member that the body means, and deepest in the body."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail["loc"], body)
        other_member = detail["type"] == "literal_error" and bool(path) and path[-1] in ("role", "type")
        found.append((not other_member, len(path), path, detail))
    members = {detail["loc"][: len(detail["loc"]) - 1] for right, _, _, detail in found if not right}
    own = [one for one in found if one[0] and not any(one[3]["loc"][: len(member)] == member for member in members)]
    # Where no member fits, what names the member is wrong.
    _, _, path, detail = max(own or [one for one in found if not one[0]] or found, key=lambda one: one[1])
    name = ".".join(map(str, path)) or "body"
    unknown = detail["type"] == "extra_forbidden"
    return Problem(name, f"Unknown parameter: '{name}'." if unknown else f"{name}: {detail['msg']}", unknown)


def _path(location: tuple[int | str, ...], body: Any) -> tuple[int | str, ...]:
    """The parts of a location that are in the body, and the last one where it is a missing field; the others name
    members of unions."""
    path: list[int | str] = []
    value: Any = body
    for part in location:
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if inside:
            value = value[part]
            path.append(part)
        elif part == location[-1] and isinstance(value, dict) and isinstance(part, str) and part.islower():
            path.append(part)
    return tuple(path)
