"""A closed-loop HTTP/1.1 load generator in a process of its own. Loopback only, bounded in time and count.

    python -m load.client --url http://127.0.0.1:8000/health/live --connections 32 --seconds 5

prints one JSON object. `LoadGenerator` drives the same process from Python, over its standard input and output, so
that generator and caller never share an interpreter lock.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import orjson
import uvloop

from load.connection import Connection
from load.load_run import MAX_REQUESTS, LoadResult, LoadSpec, request_bytes
from load.loopback import loopback_address
from load.parent import parent_gone

ROOT = Path(__file__).resolve().parents[1]
RECONNECT_SECONDS = 0.05
SWEEP_SECONDS = 0.05

_EXAMPLES = """examples:
  python -m load.client --url http://127.0.0.1:8000/health/live --connections 32
  python -m load.client --url http://127.0.0.1:8000/v1/chat/completions --stream --connections 16 \\
      --header "Authorization: Bearer $(penstock key)" \\
      --body '{"model": "mock-model", "stream": true, "messages": [{"role": "user", "content": "Hello @SERIAL@"}]}'
"""


class ClosedLoopRun:
    """The run of one LoadSpec."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._left = spec.max_requests
        self._end = 0.0
        self._open: set[Connection] = set()
        self.requests = request_bytes(spec)
        self.result = LoadResult()
        self.stream = spec.stream

    def may_send(self) -> bool:
        """Take one of the remaining requests; False once time or count are used up."""
        if self._left <= 0 or time.perf_counter() >= self._end:
            return False
        self._left -= 1
        return True

    async def run(self) -> LoadResult:
        """Until the time or the count is used up and every request in flight is answered or timed out."""
        started = time.perf_counter()
        self._end = started + self._spec.seconds
        sweeper = asyncio.ensure_future(self._time_out_slow_requests())
        try:
            await asyncio.gather(*(self._keep_connected() for _ in range(self._spec.connections)))
        finally:
            sweeper.cancel()
        self.result.elapsed = time.perf_counter() - started
        return self.result

    async def _keep_connected(self) -> None:
        address = loopback_address(self._spec.url)
        loop = asyncio.get_running_loop()
        while self._left > 0 and time.perf_counter() < self._end:
            try:
                _, connection = await loop.create_connection(lambda: Connection(self), address.host, address.port)
            except OSError:
                self.result.errors["connect failed"] = self.result.errors.get("connect failed", 0) + 1
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._open.add(connection)
            await connection.closed
            self._open.discard(connection)

    async def _time_out_slow_requests(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            limit = time.perf_counter_ns() - int(self._spec.timeout * 1e9)
            for connection in tuple(self._open):
                since = connection.waits_since()
                if since is not None and since < limit:
                    connection.abort("timeout")


class LoadGenerator:
    """A generator process, for a `with` block. Runs one LoadSpec after another."""

    def __enter__(self) -> "LoadGenerator":
        # Its own session: Ctrl-C is for the caller, who ends this process in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "load.client", "--serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """The generator's process id."""
        return self._process.pid

    def run(self, spec: LoadSpec) -> LoadResult:
        """Run it and wait. Raises RuntimeError when the generator died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(asdict(spec)) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The load generator ended (exit code {self._process.wait()}).")
        return LoadResult(**orjson.loads(line))


async def _serve() -> None:
    """Run specs from standard input until it ends or the parent is gone."""
    specs = asyncio.ensure_future(_run_specs())
    gone = asyncio.ensure_future(parent_gone(os.getppid()))
    await asyncio.wait({specs, gone}, return_when=asyncio.FIRST_COMPLETED)
    specs.cancel()
    gone.cancel()


async def _run_specs() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        fields = orjson.loads(line)
        result = await ClosedLoopRun(LoadSpec(**fields | {"bodies": tuple(fields["bodies"])})).run()
        sys.stdout.buffer.write(orjson.dumps(asdict(result)) + b"\n")
        sys.stdout.buffer.flush()


def summary(result: LoadResult) -> dict[str, object]:
    """A result without its samples, for people and files. Latencies are milliseconds."""
    latency, first = result.latency, result.first_event
    return {
        "requests": result.requests,
        "seconds": round(result.elapsed, 3),
        "requests_per_second": round(result.requests_per_second, 1),
        "latency_ms": None if latency is None else asdict(latency),
        "first_event_ms": None if first is None else asdict(first),
        "events": result.events,
        "statuses": result.statuses,
        "errors": result.errors,
        "cache": result.cache,
        "error_sample": result.error_sample,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.client",
        description="Closed-loop load on a server of this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="http:// URL on this machine")
    parser.add_argument("--connections", type=int, default=1, help="clients at the same time (default 1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (default 5)")
    parser.add_argument("--max-requests", type=int, default=MAX_REQUESTS, help="how many at most")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds one request may take (default 30)")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE", help="may be repeated")
    parser.add_argument("--body", action="append", default=[], help="JSON to POST; repeated: sent in turn")
    parser.add_argument("--stream", action="store_true", help="answers are server-sent events that end with [DONE]")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line. Exit code 0 when every request was answered well, 1 when some were not, 2 for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if options.serve:
            runner.run(_serve())
            return 0
        if not options.url:
            parser.error("--url is missing")
        try:
            spec = LoadSpec(
                url=options.url,
                method="POST" if options.body else "GET",
                bodies=tuple(options.body),
                headers=dict(_header(text) for text in options.header),
                stream=options.stream,
                connections=options.connections,
                seconds=options.seconds,
                max_requests=options.max_requests,
                timeout=options.timeout,
            )
        except ValueError as error:
            parser.error(str(error))
        result = runner.run(ClosedLoopRun(spec).run())
    print(orjson.dumps(summary(result), option=orjson.OPT_INDENT_2).decode())
    return 1 if result.errors else 0


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not NAME: VALUE")
    return name.strip(), value.strip()


if __name__ == "__main__":
    sys.exit(main())
