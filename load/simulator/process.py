"""The simulator in a process of its own."""

import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from load.loopback import loopback_address
from load.simulator.providers import PLAIN, PROVIDERS

ROOT = Path(__file__).resolve().parents[2]


class SimulatorProcess:
    """A running simulator. `url` has no path; what a provider is configured with is `base_url(NAME)`. ports: of the
    providers' own, by name, where there are any."""

    def __init__(self, url: str, pid: int | None = None, ports: Mapping[str, int] | None = None) -> None:
        self.url = url.rstrip("/")
        self.pid = pid
        self._ports = dict(ports or {})

    def base_url(self, provider: str = PLAIN.name) -> str:
        """Of `openai`, `anthropic`, `groq`, `gemini`, `perplexity` or `compatible`, on its own port if it has one."""
        port = self._ports.get(provider)
        root = self.url if port is None else f"http://127.0.0.1:{port}"
        return root + PROVIDERS[provider].prefix

    def counts(self) -> dict[str, Any]:
        """What was asked of it since the start or the last reset; the fields of `Counts.as_json`."""
        counts: dict[str, Any] = self._ask("GET", "/counts")
        return counts

    def bills(self) -> list[dict[str, Any]]:
        """One row a call: request_id, provider, model, operation, input, cached, cache_write, output,
        cache_write_long, cost, fault, stream, state."""
        bills: list[dict[str, Any]] = self._ask("GET", "/bills")
        return bills

    def requests(self) -> list[dict[str, Any]]:
        """The last requests to providers: method, target, headers (keys redacted), body."""
        requests: list[dict[str, Any]] = self._ask("GET", "/requests")
        return requests

    def control(self, **settings: Any) -> None:
        """Change how it answers; the fields of `ControlRequest`. Raises ValueError with what it says is wrong."""
        self._ask("POST", "/control", orjson.dumps(settings))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        address = loopback_address(self.url)
        connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = orjson.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"]["message"])
        return answer


@contextmanager
def simulator(
    *,
    tokens: int = 20,
    seed: int = 1,
    profile: str = "fast",
    time_scale: float = 1.0,
    latency_ms: float = 0.0,
    token_interval_ms: float = 0.0,
    ports: bool = False,
    validate: bool = True,
    lenient: bool = False,
    faults: Mapping[str, float] | None = None,
) -> Iterator[SimulatorProcess]:
    """A simulator on a free port, ended with the block. faults: the share of all calls that each one happens to.
    Raises RuntimeError when it does not start."""
    command = [sys.executable, "-m", "load.simulator", "--port", "0", "--tokens", str(tokens), "--seed", str(seed)]
    command += ["--profile", profile, "--time-scale", str(time_scale)]
    command += ["--latency-ms", str(latency_ms), "--token-interval-ms", str(token_interval_ms)]
    command += [word for name, share in (faults or {}).items() for word in ("--fault", f"{name}={share}")]
    command += _flags(("--ports", ports), ("--no-validate", not validate), ("--lenient", lenient))
    # Its own session: Ctrl-C is for the caller, who ends the simulator in order.
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"The simulator did not start (exit code {process.wait()}).")
        started = orjson.loads(line)
        yield SimulatorProcess(started["url"], started["pid"], started.get("ports"))
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def _flags(*flags: tuple[str, bool]) -> Sequence[str]:
    return [name for name, wanted in flags if wanted]
