"""What an ingestion tells while it runs and when it is done. docs/data-engineers/ingest.md describes the events."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingestion.files import Survey

Event = Mapping[str, Any]
Report = Callable[[Event], None]

INTERVAL = 0.5
"""Seconds between progress events."""
LISTED_FAILURES = 1000
"""The summary lists so many; each is an event of its own besides."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that was left out, and why."""

    file: str
    reason: str


@dataclass(slots=True)
class Summary:
    """What a run did. written and unchanged count documents; chunks are those written; ignored: by suffix."""

    collection: str
    written: int = 0
    unchanged: int = 0
    failed: int = 0
    chunks: int = 0
    seconds: float = 0.0
    version: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class Progress:
    """Counts, and reports now and then."""

    def __init__(self, collection: str, found: Survey, report: Report, *, clock: Callable[[], float] = time.monotonic):
        self.summary = Summary(collection, ignored=dict(found.ignored))
        self._found = found
        self._report = report
        self._clock = clock
        self._started = clock()
        self._reported = self._started
        self._size = 0
        self._embedded = 0
        report({"event": "start", "collection": collection, "total": found.files, "bytes": found.size})

    def written(self, size: int, chunks: int) -> None:
        """A document of so many bytes has been committed."""
        self.summary.written += 1
        self.summary.chunks += chunks
        self._done(size)

    def unchanged(self, size: int) -> None:
        """A document was there already."""
        self.summary.unchanged += 1
        self._done(size)

    def failed(self, file: str, reason: str, size: int = 0) -> None:
        """A file cannot be ingested."""
        self.summary.failed += 1
        if len(self.summary.failures) < LISTED_FAILURES:
            self.summary.failures.append(Failure(file, reason))
        self._report({"event": "failure", "file": file, "reason": reason})
        self._done(size)

    def embedded(self, chunks: int) -> None:
        """Chunks are on their way to Postgres."""
        self._embedded += chunks
        self._now_and_then()

    def finish(self, version: int) -> Summary:
        """Report the end. version: of the collection now."""
        summary = self.summary
        summary.version, summary.seconds = version, round(self._clock() - self._started, 3)
        self._progress()
        failures = [{"file": failure.file, "reason": failure.reason} for failure in summary.failures]
        self._report(
            {
                "event": "summary",
                "collection": summary.collection,
                "version": summary.version,
                "written": summary.written,
                "unchanged": summary.unchanged,
                "failed": summary.failed,
                "ignored": summary.ignored,
                "chunks": summary.chunks,
                "seconds": summary.seconds,
                "failures": failures,
            }
        )
        return summary

    def _done(self, size: int) -> None:
        self._size += size
        self._now_and_then()

    def _now_and_then(self) -> None:
        if self._clock() - self._reported >= INTERVAL:
            self._progress()

    def _progress(self) -> None:
        self._reported = self._clock()
        elapsed = max(self._reported - self._started, 1e-3)
        done = self.summary.written + self.summary.unchanged + self.summary.failed
        left = max(self._found.size - self._size, 0)
        self._report(
            {
                "event": "progress",
                "done": done,
                "total": max(self._found.files, done),
                "chunks": self._embedded,
                "rate": round(self._embedded / elapsed, 1),
                "eta": round(elapsed * left / self._size, 1) if self._size else None,
            }
        )
