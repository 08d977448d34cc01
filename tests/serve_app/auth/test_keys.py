import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import AuthenticationError
from serve_app.auth.keys import ALPHABET, generate, key_hash


def test_a_key_is_recognisable_and_its_hash_is_plain_sha256():
    key = generate()
    assert re.fullmatch(r"pst_[0-9A-Za-z]{49}", key.plaintext)
    assert key.hash == hashlib.sha256(key.plaintext.encode()).digest() == key_hash(key.plaintext)
    assert key.plaintext.startswith(key.prefix)
    assert key.plaintext not in repr(key)


def test_no_two_keys_are_alike():
    assert len({generate().plaintext for _ in range(1000)}) == 1000


@given(position=st.integers(4, 52), character=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_recognised_as_a_typo(position, character):
    good = generate().plaintext
    bad = good[:position] + character + good[position + 1 :]
    if bad != good:
        with pytest.raises(AuthenticationError, match="mistyped"):
            key_hash(bad)


@given(st.text())
def test_any_other_text_is_no_key(text):
    with pytest.raises(AuthenticationError):
        key_hash(text)


def test_a_key_that_was_cut_is_recognised():
    with pytest.raises(AuthenticationError):
        key_hash(generate().plaintext[:-1])
