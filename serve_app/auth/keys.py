"""API keys: `pst_` + 43 characters of secret + 6 characters of checksum, all base 62.

The secret has 256 random bits, so a plain SHA-256 is a safe thing to store: there is nothing to guess. The checksum
(CRC-32) tells a mistyped or cut key from an unknown one without a look at the database, and lets secret scanners
recognise keys by their form alone.
"""

import hashlib
import secrets
import zlib
from dataclasses import dataclass, field

from kit.errors import AuthenticationError

PREFIX = "pst_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
SHOWN_LENGTH = len(PREFIX) + 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment when its plaintext is known."""

    plaintext: str = field(repr=False)

    @property
    def hash(self) -> bytes:
        """What is stored: 32 bytes."""
        return key_hash(self.plaintext)

    @property
    def prefix(self) -> str:
        """The beginning, by which people recognise a key in a list."""
        return self.plaintext[:SHOWN_LENGTH]


def generate() -> NewKey:
    """A new random key."""
    body = PREFIX + _base62(secrets.randbits(256), SECRET_LENGTH)
    return NewKey(body + _checksum(body))


def key_hash(plaintext: str) -> bytes:
    """SHA-256 of a key, 32 bytes. AuthenticationError when the text cannot be a key, a typo for instance."""
    body, checksum = plaintext[:-CHECKSUM_LENGTH], plaintext[-CHECKSUM_LENGTH:]
    well_formed = len(body) == len(PREFIX) + SECRET_LENGTH and body.startswith(PREFIX) and plaintext.isascii()
    if not well_formed or not secrets.compare_digest(_checksum(body), checksum):
        raise AuthenticationError("This is not an API key of this platform: it is mistyped or cut.")
    return hashlib.sha256(plaintext.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
