"""Checks of single fields, whose errors name the path, what is allowed and what came instead."""

from collections.abc import Mapping
from typing import Any

from kit.errors import ValidationError
from serve_app.http.bodies import kind_of
from serve_app.http.errors import bad_field

MAX_NAME = 200
_SHOWN = 40
"""Characters of a wrong value that an error repeats."""


def wrong(path: str, allowed: str, owner: Mapping[str, Any], name: str) -> ValidationError:
    """The error for `owner[name]`, which is missing or not what is allowed."""
    if name not in owner:
        return bad_field(path, f"is required and {allowed}")
    value = owner[name]
    if value in ("", []):
        return bad_field(path, f"{allowed}, not empty")
    shown = repr(value[:_SHOWN]) if isinstance(value, str) else kind_of(value)
    return bad_field(path, f"{allowed}, not {shown}")


def model_of(body: Mapping[str, Any]) -> str:
    """The required field `model`."""
    model = body.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_NAME:
        raise wrong("model", f"must be a string of 1 to {MAX_NAME} characters", body, "model")
    return model


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A field that is true, false, null or left out."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, "must be true or false", body, name)
    return value is True


def check_temperature(body: Mapping[str, Any], most: int) -> None:
    """`temperature` must be a number from 0 to `most`, null or left out."""
    value = body.get("temperature")
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise wrong("temperature", f"must be a number from 0 to {most}", body, "temperature")


def objects(path: str, body: Mapping[str, Any], name: str, what: str) -> list[dict[str, Any]]:
    """A required array of objects that is not empty."""
    items = body.get(name)
    if not isinstance(items, list) or not items:
        raise wrong(path, f"must be a non-empty array of {what}", body, name)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise bad_field(f"{path}[{index}]", f"must be an object, not {kind_of(item)}")
    return items


def check_content(path: str, owner: Mapping[str, Any], text_types: tuple[str, ...]) -> None:
    """`content` must be a string, or an array of parts with a `type`; parts of the text types have a `text`."""
    content = owner.get("content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong(f"{path}.content", "must be a string or an array of parts", owner, "content")
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise bad_field(f"{path}.content[{index}]", "must be an object with a `type`")
        if part["type"] in text_types and not isinstance(part.get("text"), str):
            raise bad_field(f"{path}.content[{index}].text", "must be a string")


def text_of(content: Any, text_types: tuple[str, ...]) -> str:
    """The text of a content: the string, or its text parts joined by newlines."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if part.get("type") in text_types)
