"""Errors of a translation's second step, told in the words of the caller's dialect."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kit.errors import UnprocessableError, ValidationError


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """names: the caller's name for a field of chat completions. What stands below such a field is not told: the steps
    count messages and parts in different ways."""
    try:
        yield
    except (UnprocessableError, ValidationError) as error:
        told = {_renamed(field, names): problems for field, problems in error.details.items()}
        message = error.message
        for field in error.details:
            message = message.replace(f"`{field}`", f"`{_renamed(field, names)}`", 1)
        raise type(error)(message, details=told, should_retry=error.should_retry) from error


def _renamed(field: str, names: Mapping[str, str]) -> str:
    for name, callers in names.items():
        if field == name or field.startswith((f"{name}.", f"{name}[")):
            return callers
    return field
