"""The YAML block between `---` lines at the top of a Markdown file."""

import math
import re

import yaml

from pipelines.ingestion.document import AttributeValue, ParseError

MAX_FRONT_MATTER = 16_384
"""Characters. A few lines are usual; the bound keeps YAML that expands out of the parser."""

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def split_front_matter(text: str) -> tuple[dict[str, AttributeValue], int]:
    """The attributes and where the body begins. A file without front matter has none and begins at 0.

    Values are text, numbers, booleans and lists of text; dates become text. Raises ParseError for broken YAML and for
    nested values, which nothing could filter by.
    """
    match = _FRONT_MATTER.match(text)
    if match is None or not match.group(1):
        return {}, 0 if match is None else match.end()
    if len(match.group(1)) > MAX_FRONT_MATTER:
        raise ParseError(f"Its front matter is longer than {MAX_FRONT_MATTER} characters.")
    try:
        loaded = yaml.safe_load(match.group(1))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark is not None else ""
        raise ParseError(f"Its front matter is not valid YAML{where}.") from error
    if not isinstance(loaded, dict):
        # Two thematic breaks with prose between them look like front matter and are none.
        return {}, 0 if loaded is not None else match.end()
    return {_clean(key): _value(_clean(key), value) for key, value in loaded.items() if value is not None}, match.end()


def _value(key: str, value: object) -> AttributeValue:
    if isinstance(value, float) and not math.isfinite(value):
        raise ParseError(f"Its front matter says {value} under {key!r}; a number must be finite.")
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        if any(isinstance(item, list | dict) for item in value):
            raise ParseError(
                f"Its front matter nests values under {key!r}; a value is text, a number or a list of text."
            )
        return [_clean(item) for item in value]
    if isinstance(value, dict | set | tuple | bytes):
        raise ParseError(f"Its front matter nests values under {key!r}; a value is text, a number or a list of text.")
    return _clean(value)


def _clean(value: object) -> str:
    """As text that Postgres takes: YAML can write NUL and lone surrogates by escapes."""
    text = " ".join(str(value).split())
    return "".join(char for char in text if char.isprintable())
