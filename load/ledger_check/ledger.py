"""The product's ledger as its API shows it."""

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from load.loopback import loopback_address

PAGE = 100
SETTLE_SECONDS = 60.0
STABLE_SECONDS = 2.0


class LedgerError(RuntimeError):
    """The API does not answer as it should."""


class LedgerReader:
    """Reads one tenant's rows from a moment on."""

    def __init__(self, url: str, key: str, since: datetime) -> None:
        self._address = loopback_address(url)
        self._key = key
        self._since = since

    def rows(self, progress: Callable[[int], None] = lambda _: None) -> list[dict[str, Any]]:
        """All of them, newest first. Raises LedgerError."""
        found: list[dict[str, Any]] = []
        query = {**self._period(), "detail": "true", "limit": str(PAGE)}
        while True:
            page = self._get(query)
            found += page["rows"]
            progress(len(found))
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    def settled(self) -> int:
        """How many rows there are once no more come. Rows are written in batches, a few milliseconds after a call."""
        deadline = time.monotonic() + SETTLE_SECONDS
        count, since = -1, time.monotonic()
        while time.monotonic() < deadline:
            now = int(self._get({**self._period(), "limit": "1"})["totals"]["calls"])
            if now != count:
                count, since = now, time.monotonic()
            elif time.monotonic() - since >= STABLE_SECONDS:
                return count
            time.sleep(0.2)
        raise LedgerError(f"After {SETTLE_SECONDS:.0f} s rows are still being written.")

    def _period(self) -> dict[str, str]:
        return {"from": self._since.isoformat(), "to": datetime.now(UTC).isoformat()}

    def _get(self, query: dict[str, str]) -> Any:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=60)
        try:
            path = f"{self._address.prefix}/api/usage?{urlencode(query)}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._key}"})
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            raise LedgerError(f"/api/usage does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise LedgerError(f"/api/usage answered {response.status}: {body[:300]!r}")
        return orjson.loads(body)
