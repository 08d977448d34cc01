"""Reads fields of JSON that somebody else wrote. What is missing or of the wrong type becomes an error that names it.

`caller_fields` reads requests (ValidationError), `provider_fields` reads answers and events (UpstreamError).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kit.errors import PenstockError, UnprocessableError, UpstreamError, ValidationError

T = TypeVar("T")
LARGEST_COUNT = 2**53
"""What JSON numbers hold exactly everywhere."""

Wrong = Callable[[str, str], PenstockError]
"""Makes the error for (path of the field, what it must be)."""


class Fields:
    """The fields of one JSON object. `path` is where it stands in the document, empty for the document itself.

    `null` counts as missing. The `find_…` methods give None for a missing field, the others raise.
    """

    __slots__ = ("_wrong", "content", "path")

    def __init__(self, content: Mapping[str, Any], path: str, wrong: Wrong) -> None:
        self.content = content
        self.path = path
        self._wrong = wrong

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, expected: str) -> PenstockError:
        """The error that says what a field must be."""
        return self._wrong(self.at(name), expected)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.content.get(name) is not None

    def find_text(self, name: str) -> str | None:
        """A string."""
        value = self.content.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a string")

    def text(self, name: str) -> str:
        """A string."""
        return self._there(name, self.find_text(name), "a string")

    def find_flag(self, name: str) -> bool | None:
        """A boolean."""
        value = self.content.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "true or false")

    def find_integer(self, name: str) -> int | None:
        """An integer."""
        value = self.content.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(name, "an integer")

    def integer(self, name: str) -> int:
        """An integer."""
        return self._there(name, self.find_integer(name), "an integer")

    def count(self, name: str) -> int:
        """A number of things, 0 where it is missing."""
        value = self.find_integer(name)
        if value is not None and not 0 <= value <= LARGEST_COUNT:
            raise self.wrong(name, "0 or more, and no more than anybody counts")
        return value or 0

    def find_number(self, name: str) -> float | int | None:
        """An integer or a float."""
        value = self.content.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self.wrong(name, "a number")

    def find_json(self, name: str) -> dict[str, Any] | None:
        """An object, as it is."""
        value = self.content.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "an object")

    def json(self, name: str) -> dict[str, Any]:
        """An object, as it is."""
        return self._there(name, self.find_json(name), "an object")

    def find_object(self, name: str) -> "Fields | None":
        """The fields of an object."""
        value = self.find_json(name)
        return None if value is None else Fields(value, self.at(name), self._wrong)

    def object(self, name: str) -> "Fields":
        """The fields of an object."""
        return self._there(name, self.find_object(name), "an object")

    def objects(self, name: str) -> "list[Fields]":
        """The objects of a list, none where it is missing."""
        value = self.content.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list of objects")
        items = []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.wrong(f"{name}[{index}]", "an object")
            items.append(Fields(item, f"{self.at(name)}[{index}]", self._wrong))
        return items

    def texts(self, name: str) -> list[str]:
        """The strings of a list, none where it is missing."""
        value = self.content.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of strings")
        return value

    def _there(self, name: str, value: T | None, expected: str) -> T:
        if value is None:
            raise self.wrong(name, expected)
        return value


def caller_fields(content: Mapping[str, Any]) -> Fields:
    """The fields of a caller's request."""
    return Fields(content, "", _wrong_input)


def provider_fields(content: Any, path: str = "") -> Fields:
    """The fields of a provider's answer or event. Raises UpstreamError where it is no object."""
    if not isinstance(content, dict):
        raise _wrong_answer(path or "it", "an object")
    return Fields(content, path, _wrong_answer)


def refused(field: str, reason: str, remedy: str) -> UnprocessableError:
    """The error for what the provider's dialect has no way to say."""
    message = f"`{field}`: {reason}; {remedy}."
    return UnprocessableError(message, details={field: [f"{reason}; {remedy}."]}, should_retry=False)


def _wrong_input(path: str, expected: str) -> PenstockError:
    problem = f"It must be {expected}."
    return ValidationError(f"`{path}` must be {expected}.", details={path: [problem]}, should_retry=False)


def _wrong_answer(path: str, expected: str) -> PenstockError:
    return UpstreamError(f"The provider's answer is not what its API promises: `{path}` must be {expected}.")
