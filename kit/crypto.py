"""Secrets at rest: envelope encryption with AES-256-GCM.

Each secret has a data key of its own, and the data key is wrapped by a key-encryption key that a `KeyProvider` holds:

    version (1) | length of the key's id (1) | key's id | nonce (12) | wrapped data key (48) | nonce (12) | ciphertext

Both layers are bound to a `context` that the caller names (whose secret it is and what for), so that sealed bytes which
were moved to another row do not open. The ciphertext does not know the key's id: rotation wraps the data key anew and
leaves the ciphertext as it is.
"""

import hashlib
import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr, field_validator

from kit.errors import PenstockError, SetupError
from kit.settings import Section

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES


class SealedError(PenstockError):
    """Sealed bytes that do not open."""

    code = "SEALED_ERROR"


class TamperedError(SealedError):
    """They were changed, cut, or sealed for another context."""


class UnknownKeyError(SealedError):
    """The key-encryption key that they name is not here."""


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A key-encryption key. secret: 32 bytes."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Names the key wherever it is kept; says nothing about it."""
        return hashlib.sha256(b"penstock key id\0" + self.secret).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str) -> "EncryptionKey":
        """A key from base64. Raises ValueError that does not repeat it."""
        try:
            secret = b64decode(text.strip(), validate=True)
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise ValueError(f"must be {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 {KEY_BYTES}")
        return cls(secret)


class KeyProvider(Protocol):
    """Holds the key-encryption keys."""

    def current(self) -> EncryptionKey:
        """The key under which new secrets are sealed."""
        ...

    def get(self, key_id: str) -> EncryptionKey:
        """The key with this id. Raises UnknownKeyError."""
        ...


class EncryptionConfig(Section):
    """The keys under which secrets lie encrypted in the database."""

    keys: SecretStr | None = Field(
        None,
        description="Keys of 32 bytes in base64, comma-separated, the current one first; none: files in the home.",
    )

    @field_validator("keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _parse_keys(value)
        return value

    def provider(self, home: Path) -> KeyProvider:
        """The keys of this setting, or those in the home folder."""
        folder = home.expanduser() / "secrets" / "encryption_keys"
        return FileKeys(folder) if self.keys is None else EnvironmentKeys(self.keys)


class EnvironmentKeys:
    """Keys from a setting, the current one first. For several machines: every process gets the same."""

    def __init__(self, keys: SecretStr) -> None:
        """Raises ValueError for what is no list of keys."""
        self._keys = _parse_keys(keys)

    def current(self) -> EncryptionKey:
        """The first."""
        return self._keys[0]

    def get(self, key_id: str) -> EncryptionKey:
        """The key with this id. Raises UnknownKeyError."""
        for key in self._keys:
            if key.id == key_id:
                return key
        raise _unknown(key_id, "PENSTOCK_ENCRYPTION__KEYS")


class FileKeys:
    """Keys in a folder of one machine: numbered files of mode 600, the last is current, the first made on first use.

    A file is written once and never changes, so that processes need no lock: each reads the folder again when it meets
    a key that it does not know.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, EncryptionKey] = {}

    def current(self) -> EncryptionKey:
        """The newest, which another process may have added a moment ago."""
        if not self._read():
            return self.add()
        return next(reversed(self._keys.values()))

    def get(self, key_id: str) -> EncryptionKey:
        """The key with this id. Raises UnknownKeyError."""
        if key_id not in self._keys:
            self._read()
        if key_id not in self._keys:
            raise _unknown(key_id, str(self._folder))
        return self._keys[key_id]

    def add(self) -> EncryptionKey:
        """Make a new key, which is the current one from now on."""
        key = EncryptionKey(secrets.token_bytes(KEY_BYTES))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{secrets.token_hex(8)}"
        _write_private(draft, b64encode(key.secret) + b"\n")
        number = self._read() + 1
        while not _named(draft, self._folder / f"{number:04d}"):
            number += 1
        draft.unlink()
        self._read()
        return key

    def _read(self) -> int:
        """Read the folder; the number of its last key."""
        files = sorted(self._folder.glob("[0-9]*"), key=lambda file: int(file.name)) if self._folder.is_dir() else []
        try:
            keys = [EncryptionKey.parse(file.read_text("ascii")) for file in files]
        except (OSError, ValueError) as error:
            raise SetupError(
                f"{self._folder} holds a file that is no key or cannot be read.", "Bring the folder back from a backup."
            ) from error
        self._keys = {key.id: key for key in keys}
        return int(files[-1].name) if files else 0


def seal(plaintext: bytes, *, context: bytes, keys: KeyProvider) -> bytes:
    """Encrypt under a new data key, wrapped by the current key. Opens with the same context only."""
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    return _wrap(data_key, context, keys.current()) + _encrypt(data_key, plaintext, _VERSION + context)


def open_sealed(sealed: bytes, *, context: bytes, keys: KeyProvider) -> bytes:
    """The plaintext. Raises TamperedError or UnknownKeyError."""
    parts = _split(sealed)
    return _decrypt(_unwrap(parts, context, keys), parts.ciphertext, _VERSION + context)


def rewrap(sealed: bytes, *, context: bytes, keys: KeyProvider) -> bytes:
    """The same secret under the current key, its ciphertext untouched; the same bytes where it is under that key.

    Raises TamperedError or UnknownKeyError.
    """
    parts, current = _split(sealed), keys.current()
    if parts.key_id == current.id:
        return sealed
    return _wrap(_unwrap(parts, context, keys), context, current) + parts.ciphertext


def key_id_of(sealed: bytes) -> str:
    """The id of the key that wraps it. Raises TamperedError."""
    return _split(sealed).key_id


@dataclass(frozen=True, slots=True)
class _Parts:
    header: bytes
    key_id: str
    wrapped: bytes
    ciphertext: bytes


def _split(sealed: bytes) -> _Parts:
    if sealed[:1] != _VERSION or len(sealed) < 2:
        raise TamperedError("These are no sealed bytes of a version that this program knows.")
    start = 2 + sealed[1]
    end = start + _WRAPPED_BYTES
    if len(sealed) < end + _NONCE_BYTES + _TAG_BYTES:
        raise TamperedError("The sealed bytes are cut.")
    try:
        key_id = sealed[2:start].decode("ascii")
    except UnicodeDecodeError:
        raise TamperedError("The sealed bytes were changed.") from None
    return _Parts(sealed[:start], key_id, sealed[start:end], sealed[end:])


def _wrap(data_key: bytes, context: bytes, key: EncryptionKey) -> bytes:
    header = _VERSION + bytes([len(key.id)]) + key.id.encode("ascii")
    return header + _encrypt(key.secret, data_key, header + context)


def _unwrap(parts: _Parts, context: bytes, keys: KeyProvider) -> bytes:
    return _decrypt(keys.get(parts.key_id).secret, parts.wrapped, parts.header + context)


def _encrypt(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def _decrypt(key: bytes, data: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], associated)
    except InvalidTag:
        raise TamperedError("The sealed bytes were changed, or belong to something else.") from None


def _parse_keys(keys: SecretStr) -> tuple[EncryptionKey, ...]:
    return tuple(EncryptionKey.parse(text) for text in keys.get_secret_value().split(","))


def _unknown(key_id: str, where: str) -> UnknownKeyError:
    return UnknownKeyError(f"Sealed under the key {key_id!r}, which is not in {where}.")


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _named(draft: Path, path: Path) -> bool:
    """Give a whole file its name; False where another process took the name."""
    try:
        os.link(draft, path)  # unlike a rename, this leaves what another process has just written
    except FileExistsError:
        return False
    return True
