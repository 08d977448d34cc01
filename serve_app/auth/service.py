"""Who calls: API keys checked against a snapshot of the control database, kept by each replica.

A key's entry is at most MAX_AGE old when it decides; keys in use are refreshed in the background, so that a request
waits for Postgres only with a key that this replica has not seen lately. While Postgres is lost, entries go on for
GRACE seconds.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from kit.errors import AuthenticationError, UnavailableError
from serve_app.auth.keys import key_hash
from serve_app.auth.schemas import Principal

MAX_AGE = 4.0
"""Seconds. A revoked key stops working within this time."""
REFRESH_EVERY = 2.0
GRACE = 60.0
IDLE = 300.0
MAX_KNOWN = 10_000
MAX_UNKNOWN = 1_000
LOOKUP_TIMEOUT = 3.0

_log = structlog.get_logger("penstock.auth")


class Keys(Protocol):
    """Where API keys are looked up. Raises UnavailableError when that is lost."""

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Principal]:
        """The callers of those hashes that belong to a usable key."""
        ...


@dataclass(slots=True)
class _Entry:
    principal: Principal | None
    fetched: float
    used: float


class AuthService:
    """Turns an API key into a caller. One instance per replica."""

    def __init__(self, keys: Keys, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._unknown: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[_Entry]] = {}

    async def authenticate(self, key: str) -> Principal:
        """The caller with this key. Raises AuthenticationError, or UnavailableError when nobody can tell."""
        digest = hashlib.sha256(key.encode()).digest()
        entry = self._known.get(digest)
        if entry is None:
            digest = key_hash(key)
            entry = self._unknown.get(digest)
        now = self._clock()
        if entry is None or now - entry.fetched > MAX_AGE:
            entry = await self._fresh(digest, entry)
        entry.used = now
        principal = entry.principal
        if principal is None:
            raise AuthenticationError("This API key is not valid: unknown, expired or revoked.")
        if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
            raise AuthenticationError("This API key has expired.")
        return principal

    async def refresh(self) -> None:
        """Look up again every key in use, in one query; forget those that nobody uses."""
        now = self._clock()
        for digest in [d for d, entry in self._known.items() if now - entry.used > IDLE]:
            del self._known[digest]
        digests = list(self._known)
        if digests:
            found = await self._find(digests)
            for digest in digests:
                self._remember(digest, found.get(digest), now)

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(REFRESH_EVERY)
            try:
                await self.refresh()
            except UnavailableError as error:
                _log.warning("key snapshot not refreshed", reason=error.message)

    async def _fresh(self, digest: bytes, stale: _Entry | None) -> _Entry:
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda task: self._looked_up(digest, task))
        try:
            return await asyncio.shield(lookup)
        except UnavailableError:
            if stale is not None and stale.principal is not None and self._clock() - stale.fetched <= GRACE:
                return stale
            raise

    async def _look_up(self, digest: bytes) -> _Entry:
        now = self._clock()
        found = await self._find([digest])
        return self._remember(digest, found.get(digest), now)

    def _looked_up(self, digest: bytes, lookup: asyncio.Task[_Entry]) -> None:
        self._lookups.pop(digest, None)
        if not lookup.cancelled():
            lookup.exception()  # seen here even when every request that waited for it has gone

    async def _find(self, digests: Sequence[bytes]) -> dict[bytes, Principal]:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                return await self._keys.find(digests)
        except TimeoutError:
            raise UnavailableError("API keys cannot be checked now: the database does not answer.") from None

    def _remember(self, digest: bytes, principal: Principal | None, fetched: float) -> _Entry:
        previous = self._known.pop(digest, None) or self._unknown.pop(digest, None)
        entry = _Entry(principal, fetched, previous.used if previous else fetched)
        entries, limit = (self._unknown, MAX_UNKNOWN) if principal is None else (self._known, MAX_KNOWN)
        entries[digest] = entry
        if len(entries) > limit:
            entries.popitem(last=False)
        return entry
