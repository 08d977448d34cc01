"""The mock upstream in a process of its own."""

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from load.loopback import loopback_address

ROOT = Path(__file__).resolve().parents[1]


class MockProcess:
    """A running mock. `url` has no path; a provider's base URL is `base_url`."""

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url = url.rstrip("/")
        self.pid = pid

    @property
    def base_url(self) -> str:
        """What a provider is configured with."""
        return f"{self.url}/v1"

    def counts(self) -> dict[str, int]:
        """What was asked of it since it started; the fields of `load.mock_upstream.Counts`."""
        address = loopback_address(self.url)
        connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
        try:
            connection.request("GET", "/counts")
            counts: dict[str, int] = orjson.loads(connection.getresponse().read())
        finally:
            connection.close()
        return counts


@contextmanager
def mock_upstream(
    *, tokens: int = 20, latency_ms: float = 0.0, token_interval_ms: float = 0.0
) -> Iterator[MockProcess]:
    """A mock on a free port, ended with the block. Raises RuntimeError when it does not start."""
    command = [sys.executable, "-m", "load.mock_upstream", "--port", "0", "--tokens", str(tokens)]
    command += ["--latency-ms", str(latency_ms), "--token-interval-ms", str(token_interval_ms)]
    # Its own session: Ctrl-C is for the caller, who ends the mock in order.
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"The mock upstream did not start (exit code {process.wait()}).")
        started = orjson.loads(line)
        yield MockProcess(started["url"], started["pid"])
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
