"""The request field `penstock`, the same in every dialect."""

from dataclasses import dataclass
from typing import Any

from serve_app.chat.dialects.fields import MAX_NAME, wrong
from serve_app.http.bodies import kind_of
from serve_app.http.errors import bad_field

MODES = ("cost", "speed", "quality")


@dataclass(frozen=True, slots=True)
class Extras:
    """collection: where to look. mode: the policy of `auto`. use_cache: None: as the cache policy says."""

    collection: str | None = None
    mode: str | None = None
    use_cache: bool | None = None


NO_EXTRAS = Extras()


def take_extras(body: dict[str, Any]) -> Extras:
    """Take the field out of a body, so that no provider sees it. Raises ValidationError that names what is wrong."""
    value = body.pop("penstock", None)
    if value is None:
        return NO_EXTRAS
    if not isinstance(value, dict):
        raise bad_field("penstock", f"must be an object, not {kind_of(value)}")
    collection, mode, cache = value.get("collection"), value.get("mode"), value.get("cache")
    if collection is not None and (not isinstance(collection, str) or not 1 <= len(collection) <= MAX_NAME):
        raise wrong("penstock.collection", "must be the name of a collection", value, "collection")
    if mode is not None and (not isinstance(mode, str) or mode not in MODES):
        raise wrong("penstock.mode", f"must be one of {', '.join(MODES)}", value, "mode")
    if cache is not None and not isinstance(cache, bool):
        raise wrong("penstock.cache", "must be true or false", value, "cache")
    return Extras(collection, mode, cache)
