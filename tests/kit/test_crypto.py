"""Sealed secrets open with their key and their context, and with nothing else."""

import stat
import threading
from base64 import b64encode
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from kit.crypto import (
    EncryptionConfig,
    EncryptionKey,
    EnvironmentKeys,
    FileKeys,
    SealedError,
    TamperedError,
    UnknownKeyError,
    key_id_of,
    open_sealed,
    rewrap,
    seal,
)
from kit.errors import SetupError

CONTEXT = b"tenant a, openai"


def keys_of(*names: str) -> EnvironmentKeys:
    return EnvironmentKeys(SecretStr(",".join(b64encode(name.encode().ljust(32)).decode() for name in names)))


OLD = keys_of("old")
NEW = keys_of("new")
BOTH = keys_of("new", "old")


@given(st.binary(), st.binary())
def test_what_is_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    assert open_sealed(seal(plaintext, context=context, keys=OLD), context=context, keys=OLD) == plaintext


@given(st.binary(min_size=1), st.data())
def test_no_changed_bit_goes_unnoticed(plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(plaintext, context=CONTEXT, keys=OLD))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(SealedError):
        open_sealed(bytes(sealed), context=CONTEXT, keys=OLD)


@given(st.data())
def test_cut_or_longer_bytes_do_not_open(data: st.DataObject) -> None:
    sealed = seal(b"secret", context=CONTEXT, keys=OLD)
    end = data.draw(st.integers(0, len(sealed) - 1))
    for wrong in (sealed[:end], sealed + sealed[:1]):
        with pytest.raises(SealedError):
            open_sealed(wrong, context=CONTEXT, keys=OLD)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_typed_error(garbage: bytes) -> None:
    for wrong in (garbage, b"\x01" + garbage):
        with pytest.raises(SealedError):
            open_sealed(wrong, context=CONTEXT, keys=OLD)


@given(st.binary(), st.binary())
def test_another_context_does_not_open_it(mine: bytes, others: bytes) -> None:
    sealed = seal(b"secret", context=mine, keys=OLD)
    if mine != others:
        with pytest.raises(TamperedError):
            open_sealed(sealed, context=others, keys=OLD)
        with pytest.raises(TamperedError):
            rewrap(sealed, context=others, keys=BOTH)


def test_an_outer_layer_does_not_fit_another_ciphertext() -> None:
    one, other = (seal(secret, context=CONTEXT, keys=OLD) for secret in (b"secret 1", b"secret 2"))
    outer = len(one) - 12 - 16 - len(b"secret 1")
    with pytest.raises(TamperedError):
        open_sealed(one[:outer] + other[outer:], context=CONTEXT, keys=OLD)


def test_the_same_secret_never_looks_the_same() -> None:
    sealed = [seal(b"secret", context=CONTEXT, keys=OLD) for _ in range(100)]
    for start in range(18, len(sealed[0]) - 12, 12):  # past version and key id: nonces, wrapped key, ciphertext
        assert len({one[start : start + 12] for one in sealed}) == 100


def test_sealed_bytes_hold_nothing_of_the_secret_or_of_the_context() -> None:
    sealed = seal(b"sk-very-secret", context=CONTEXT, keys=OLD)
    assert b"secret" not in sealed
    assert b"tenant" not in sealed


def test_a_key_that_is_gone_is_named_by_its_id() -> None:
    sealed = seal(b"secret", context=CONTEXT, keys=OLD)
    with pytest.raises(UnknownKeyError, match=OLD.current().id):
        open_sealed(sealed, context=CONTEXT, keys=NEW)


def test_rewrapping_changes_the_key_and_not_the_ciphertext() -> None:
    sealed = seal(b"secret", context=CONTEXT, keys=OLD)
    renewed = rewrap(sealed, context=CONTEXT, keys=BOTH)
    assert key_id_of(sealed) == OLD.current().id
    assert key_id_of(renewed) == NEW.current().id
    assert renewed[-len(b"secret") - 28 :] == sealed[-len(b"secret") - 28 :]
    assert open_sealed(renewed, context=CONTEXT, keys=NEW) == b"secret"
    assert rewrap(renewed, context=CONTEXT, keys=BOTH) == renewed, "what is under the current key stays as it is"


def test_the_first_key_of_the_setting_is_current() -> None:
    assert BOTH.current() == NEW.current()
    assert BOTH.get(OLD.current().id) == OLD.current()


def test_no_repr_shows_a_key() -> None:
    key = NEW.current()
    for shown in (
        repr(key),
        str(key),
        repr(NEW),
        repr(EncryptionConfig(keys=SecretStr(b64encode(key.secret).decode()))),
    ):
        assert "new" not in shown
        assert b64encode(key.secret).decode() not in shown


@pytest.mark.parametrize("wrong", ["short", "", "c2hvcnQ=", ",", b64encode(b"x" * 33).decode(), "ü" * 44])
def test_a_setting_that_is_no_list_of_keys_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        EncryptionConfig(keys=SecretStr(f"{b64encode(b'x' * 32).decode()},{wrong}"))
    [problem] = refused.value.errors(include_input=False, include_context=False)
    assert problem["msg"] == "Value error, must be 32 bytes in base64; make one with: openssl rand -base64 32"


def test_files_make_their_first_key_on_first_use_and_keep_it_private(tmp_path: Path) -> None:
    folder = tmp_path / "secrets" / "encryption_keys"
    sealed = seal(b"secret", context=CONTEXT, keys=FileKeys(folder))
    assert open_sealed(sealed, context=CONTEXT, keys=FileKeys(folder)) == b"secret"
    [file] = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_opening_makes_no_key(tmp_path: Path) -> None:
    folder = tmp_path / "encryption_keys"
    with pytest.raises(UnknownKeyError):
        open_sealed(seal(b"secret", context=CONTEXT, keys=OLD), context=CONTEXT, keys=FileKeys(folder))
    assert not folder.exists()


def test_a_new_key_is_seen_by_a_process_that_runs_already(tmp_path: Path) -> None:
    one, other = FileKeys(tmp_path), FileKeys(tmp_path)
    before = seal(b"before", context=CONTEXT, keys=one)
    assert open_sealed(before, context=CONTEXT, keys=other) == b"before"
    one.add()
    after = seal(b"after", context=CONTEXT, keys=one)
    assert open_sealed(after, context=CONTEXT, keys=other) == b"after"
    assert open_sealed(before, context=CONTEXT, keys=other) == b"before"
    assert other.current() == one.current()
    assert key_id_of(before) != key_id_of(after)


def test_processes_that_start_together_open_each_others_secrets(tmp_path: Path) -> None:
    sealed: list[bytes] = []

    def start() -> None:
        sealed.append(seal(b"secret", context=CONTEXT, keys=FileKeys(tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sealed) == 8
    assert all(open_sealed(one, context=CONTEXT, keys=FileKeys(tmp_path)) == b"secret" for one in sealed)


def test_keys_move_from_files_to_the_setting(tmp_path: Path) -> None:
    """A platform that grows beyond one machine takes its keys along."""
    files = FileKeys(tmp_path)
    sealed = seal(b"secret", context=CONTEXT, keys=files)
    files.add()
    setting = ",".join(file.read_text().strip() for file in sorted(tmp_path.iterdir(), reverse=True))
    moved = EncryptionConfig(keys=SecretStr(setting)).provider(tmp_path / "elsewhere")
    assert open_sealed(sealed, context=CONTEXT, keys=moved) == b"secret"
    assert moved.current() == files.current()


def test_a_damaged_key_file_is_a_set_up_error_that_names_the_folder(tmp_path: Path) -> None:
    FileKeys(tmp_path).add()
    (tmp_path / "0002").write_text("damaged")
    with pytest.raises(SetupError, match=str(tmp_path)):
        FileKeys(tmp_path).current()


def test_a_key_has_one_id_wherever_it_is_kept() -> None:
    key = EncryptionKey(b"k" * 32)
    assert key.id == EncryptionKey.parse(b64encode(b"k" * 32).decode()).id
    assert len(key.id) == 16
