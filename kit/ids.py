"""UUIDv7 (RFC 9562): ids that sort by the time they were made, so that B-tree inserts stay at the right edge."""

import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new id: 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = secrets.randbits(74)
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76
    value |= (random_bits >> 62) << 64
    value |= 0b10 << 62
    value |= random_bits & (1 << 62) - 1
    return UUID(int=value)
