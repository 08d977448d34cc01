"""Cursors of lists: where a page ended, as opaque text."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from serve_app.http.errors import bad_field
from serve_app.usage.schemas import Page

T = TypeVar("T")


def cut(rows: Sequence[T], page: Page, key: Callable[[T], Sequence[str]]) -> tuple[list[T], str | None]:
    """A page of rows of which there may be one more, and the cursor of the next. key: what rows are ordered by."""
    kept = list(rows[: page.limit])
    if len(rows) <= page.limit:
        return kept, None
    return kept, base64.urlsafe_b64encode(orjson.dumps(list(key(kept[-1])))).decode().rstrip("=")


def read_cursor(page: Page, kinds: Sequence[Callable[[str], Any]]) -> list[Any] | None:
    """What `cut` was given, each part made by its kind; None without a cursor. Raises ValidationError."""
    if page.cursor is None:
        return None
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(page.cursor + "=" * (-len(page.cursor) % 4)))
        if not isinstance(parts, list) or not all(isinstance(part, str) and "\0" not in part for part in parts):
            raise ValueError("not a list of texts")
        return [kind(part) for kind, part in zip(kinds, parts, strict=True)]
    except (ValueError, OverflowError, binascii.Error):
        raise bad_field("cursor", "must be the next_cursor of an answer to the same query") from None
