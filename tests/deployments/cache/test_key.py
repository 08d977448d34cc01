import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deployments.cache.key import answer_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)

REQUEST: dict[str, Any] = {
    "tenant": "acme",
    "model": "auto",
    "policy_version": "v1",
    "messages": [{"role": "user", "content": "Hi"}],
    "sampling": {"temperature": 0, "seed": 1},
    "tools": None,
    "response_format": None,
    "prompt_version": "p1",
    "collection": "physics",
    "collection_revision": "a:3",
    "retrieval": {"k": 5, "filters": {}},
    "user": None,
}
FIELDS = {
    **dict.fromkeys(["tenant", "model"], st.text(min_size=1, max_size=8)),
    **dict.fromkeys(["policy_version", "prompt_version", "collection", "user"], st.none() | st.text(max_size=8)),
    **dict.fromkeys(["tools", "response_format"], JSON),
    **dict.fromkeys(["sampling", "retrieval"], st.dictionaries(st.text(max_size=4), JSON, max_size=3)),
    "messages": st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=3),
    "collection_revision": st.none() | st.text(max_size=4),
}


def differ(one: Any, other: Any) -> bool:
    """As JSON sees it: true is not 1."""
    return repr(canonical(one)) != repr(canonical(other))


def canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, repr(canonical(inner))) for key, inner in value.items())
    return [canonical(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(sorted(FIELDS)))
def test_any_difference_in_any_field_changes_the_key(data: st.DataObject, name: str) -> None:
    other = data.draw(FIELDS[name])
    assume(differ(other, REQUEST[name]))
    assert answer_key(**{**REQUEST, name: other}) != answer_key(**REQUEST)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries(FIELDS), st.randoms())
def test_the_order_of_keys_does_not(request: dict[str, Any], order: random.Random) -> None:
    assert answer_key(**shuffled(request, order)) == answer_key(**request)


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        order.shuffle(items)
        return {key: shuffled(inner, order) for key, inner in items}
    return [shuffled(inner, order) for inner in value] if isinstance(value, list) else value


def test_the_order_of_messages_does() -> None:
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert answer_key(**{**REQUEST, "messages": two}) != answer_key(**{**REQUEST, "messages": two[::-1]})


def test_the_same_value_in_another_field_is_another_key() -> None:
    one = {**REQUEST, "prompt_version": "x", "policy_version": None}
    other = {**REQUEST, "prompt_version": None, "policy_version": "x"}
    assert answer_key(**one) != answer_key(**other)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        answer_key(**{**REQUEST, "sampling": {"temperature": object()}})
